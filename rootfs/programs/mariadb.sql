-- Words, recursion, tables, grouping, windows and JSON.
create table people (name varchar(20), age int);
insert into people values ('Alice', 30), ('Carol', 30), ('Bob', 25);
select group_concat(concat(name, ':', age) order by age, name separator ' ') as people from people;
select 'mean', round(avg(age), 2) from people;
with recursive f (n, a, b) as (select 0, cast(0 as int), cast(1 as int) union all select n + 1, b, a + b from f where n < 40)
select 'fib 40', a from f where n = 40;
with recursive s (n) as (select 2 union all select n + 1 from s where n < 29)
select group_concat(n order by n separator ' ') as primes from s where not exists (select 1 from s d where d.n < s.n and s.n mod d.n = 0);
select name, rank() over (order by age desc, name) as place from people order by place;
select json_extract('{"total": 85, "ok": true}', '$.total');
select regexp_replace('2026-11-21', '([0-9]+)-([0-9]+)-([0-9]+)', '\\3/\\2/\\1');
select ifnull(1 / 0, 'caught division');
