(* Words, memo, sieve, records, closures, recursion, errors and regular expressions. *)
type person = { name : string; age : int }

let () =
  let count = Hashtbl.create 16 in
  String.split_on_char ' ' "the quick brown fox jumps over the lazy dog the fox sleeps"
  |> List.iter (fun w -> Hashtbl.replace count w (1 + Option.value ~default:0 (Hashtbl.find_opt count w)));
  Hashtbl.fold (fun w n l -> (-n, w) :: l) count []
  |> List.sort compare
  |> List.iteri (fun i (n, w) -> if i < 3 then Printf.printf "%-6s%3d\n" w (-n));
  let memo = Hashtbl.create 64 in
  let rec fib n =
    if n < 2 then n
    else
      match Hashtbl.find_opt memo n with
      | Some v -> v
      | None -> let v = fib (n - 1) + fib (n - 2) in Hashtbl.add memo n v; v in
  Printf.printf "fib 60 %d\n" (fib 60);
  let rec sieve = function [] -> [] | p :: xs -> p :: sieve (List.filter (fun x -> x mod p <> 0) xs) in
  print_endline ("primes " ^ String.concat " " (List.map string_of_int (sieve (List.init 28 (( + ) 2)))));
  let people = List.sort (fun a b -> compare (a.age, a.name) (b.age, b.name))
      [ { name = "Alice"; age = 30 }; { name = "Carol"; age = 30 }; { name = "Bob"; age = 25 } ] in
  print_endline ("people " ^ String.concat " " (List.map (fun p -> Printf.sprintf "%s:%d" p.name p.age) people));
  Printf.printf "mean %.2f\n" (float (List.fold_left (fun s p -> s + p.age) 0 people) /. 3.);
  let counter () = let n = ref 0 in fun () -> incr n; !n in
  let c = counter () in
  let a = c () in let b = c () in Printf.printf "counter %d %d %d\n" a b (c ());
  let rec hanoi n = if n = 0 then 0 else 2 * hanoi (n - 1) + 1 in
  Printf.printf "hanoi 10 %d\n" (hanoi 10);
  (try ignore (1 / (List.length people - 3)) with Division_by_zero -> print_endline "caught division");
  print_endline (Str.replace_first (Str.regexp {|\([0-9]+\)-\([0-9]+\)-\([0-9]+\)|}) {|\3/\2/\1|} "2026-11-21")
