with Ada.Text_IO; use Ada.Text_IO;
with Ada.Containers.Indefinite_Ordered_Maps;
with Ada.Containers.Vectors;
procedure Main is
   package Maps is new Ada.Containers.Indefinite_Ordered_Maps (String, Positive);
   package Vectors is new Ada.Containers.Vectors (Positive, Integer);
   package Sorting is new Vectors.Generic_Sorting;
   function Hanoi (N : Natural) return Natural is (if N = 0 then 0 else 2 * Hanoi (N - 1) + 1);
   Count : Maps.Map;
   Ages  : Vectors.Vector;
   Text  : constant String := "the quick the fox fox the ";
   First : Positive := 1;
   A, B, T : Long_Long_Integer := 0;
   Zero  : Integer := 0;
begin
   for I in Text'Range loop
      if Text (I) = ' ' then
         declare
            W : constant String := Text (First .. I - 1);
         begin
            if Count.Contains (W) then Count.Replace (W, Count (W) + 1); else Count.Insert (W, 1); end if;
         end;
         First := I + 1;
      end if;
   end loop;
   for C in Count.Iterate loop Put_Line (Maps.Key (C) & Positive'Image (Count (C))); end loop;
   B := 1;
   for I in 1 .. 60 loop T := A + B; A := B; B := T; end loop;
   Put_Line ("fib 60" & Long_Long_Integer'Image (A));
   Put ("primes");
   for N in 2 .. 29 loop
      if (for all D in 2 .. N - 1 => N mod D /= 0) then Put (Integer'Image (N)); end if;
   end loop;
   New_Line;
   Ages.Append (30); Ages.Append (31); Ages.Append (25);
   Sorting.Sort (Ages);
   Put ("sorted");
   for N of Ages loop Put (Integer'Image (N)); end loop;
   New_Line;
   Put_Line ("hanoi 10" & Integer'Image (Hanoi (10)));
   begin
      Zero := 1 / Zero;
   exception
      when Constraint_Error => Put_Line ("caught division");
   end;
end Main;
