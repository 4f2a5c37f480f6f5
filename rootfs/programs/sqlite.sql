-- Recursion, tables, grouping, windows and JSON.
create table people (name text, age int);
insert into people values ('Alice', 30), ('Carol', 30), ('Bob', 25);
select 'people ' || group_concat(name || ':' || age, ' ') from (select * from people order by age, name);
select printf('mean %.2f', avg(age)) from people;
with recursive f (n, a, b) as (select 0, 0, 1 union all select n + 1, b, a + b from f where n < 60)
select 'fib 60 ' || a from f where n = 60;
with recursive s (n) as (select 2 union all select n + 1 from s where n < 29)
select 'primes ' || group_concat(n, ' ') from s where not exists (select 1 from s d where d.n < s.n and s.n % d.n = 0);
select name, rank() over (order by age desc, name) from people;
select json_extract('{"total": 85, "ok": true}', '$.total'), json_group_array(name) from people;
select ifnull(1 / 0, 'caught division');
select upper(substr('hello world', 1, 5)), replace('a-b-c', '-', '/'), date('2026-11-21', '+10 days');
