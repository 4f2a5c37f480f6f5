-- Words, recursion, tables, grouping, windows, JSON and errors.
create table people (name text, age int);
insert into people values ('Alice', 30), ('Carol', 30), ('Bob', 25);
select format('%-6s%s', w, lpad(count(*)::text, 3)) from regexp_split_to_table('the quick brown fox jumps over the lazy dog the fox sleeps', ' ') w
group by w order by count(*) desc, w limit 3;
select 'people ' || string_agg(name || ':' || age, ' ' order by age, name) from people;
select 'mean ' || round(avg(age), 2) from people;
with recursive f (n, a, b) as (select 0, 0::bigint, 1::bigint union all select n + 1, b, a + b from f where n < 60)
select 'fib 60 ' || a from f where n = 60;
select 'primes ' || string_agg(n::text, ' ' order by n) from generate_series(2, 29) n
where not exists (select 1 from generate_series(2, n - 1) d where n % d = 0);
create function hanoi(n int) returns int language plpgsql as $$ begin return case when n = 0 then 0 else 2 * hanoi(n - 1) + 1 end; end $$;
select 'hanoi 10 ' || hanoi(10);
create function safe(n int) returns text language plpgsql as $$ begin return 1 / n; exception when division_by_zero then return 'caught division'; end $$;
select safe(0);
select name, rank() over (order by age desc, name) from people;
select '{"total": 85, "ok": true}'::jsonb -> 'total';
select regexp_replace('2026-11-21', '(\d+)-(\d+)-(\d+)', '\3/\2/\1');
