program main;
{$mode objfpc}{$h+}
uses sysutils, classes, fpjson, jsonparser;
function Hanoi(n: integer): integer;
begin
  if n = 0 then Result := 0 else Result := 2 * Hanoi(n - 1) + 1;
end;
var
  words: TStringList;
  w, line: string;
  a, b, t: int64;
  i, d: integer;
  prime: boolean;
  data: TJSONData;
begin
  words := TStringList.Create;
  words.Sorted := true;
  words.Duplicates := dupIgnore;
  for w in string('the quick brown fox jumps over the lazy dog').Split([' ']) do words.Add(w);
  words.Delimiter := ' ';
  writeln('words ', words.DelimitedText);
  words.Free;
  a := 0; b := 1;
  for i := 1 to 60 do begin t := a + b; a := b; b := t; end;
  writeln('fib 60 ', a);
  line := 'primes';
  for i := 2 to 29 do begin
    prime := true;
    for d := 2 to i - 1 do if i mod d = 0 then prime := false;
    if prime then line := line + ' ' + IntToStr(i);
  end;
  writeln(line);
  writeln(Format('mean %.2f', [85 / 3]));
  writeln('hanoi 10 ', Hanoi(10));
  try
    writeln(StrToInt('12x'));
  except
    on e: EConvertError do writeln('caught ', e.Message);
  end;
  data := GetJSON('{"total": 85, "names": ["Bob", "Alice"]}');
  writeln(data.FindPath('total').AsInteger, ' ', data.FindPath('names[1]').AsString);
  data.Free;
end.
