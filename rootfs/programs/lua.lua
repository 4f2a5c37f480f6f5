-- Words, memo, sieve, records, closures, recursion, errors and patterns.
local text = "the quick brown fox jumps over the lazy dog the fox sleeps"
local count, words = {}, {}
for w in text:gmatch("%a+") do
  if not count[w] then words[#words + 1] = w end
  count[w] = (count[w] or 0) + 1
end
table.sort(words, function(a, b) if count[a] ~= count[b] then return count[a] > count[b] end return a < b end)
for i = 1, 3 do print(("%-6s%3d"):format(words[i], count[words[i]])) end
local memo = setmetatable({[0] = 0, [1] = 1}, {__index = function(t, n) t[n] = t[n - 1] + t[n - 2] return t[n] end})
print("fib 60 " .. memo[60])
local primes = {}
for n = 2, 29 do
  local prime = true
  for _, p in ipairs(primes) do if n % p == 0 then prime = false end end
  if prime then primes[#primes + 1] = n end
end
print("primes " .. table.concat(primes, " "))
local people = {{"Alice", 30}, {"Carol", 30}, {"Bob", 25}}
table.sort(people, function(a, b) if a[2] ~= b[2] then return a[2] < b[2] end return a[1] < b[1] end)
local out, total = {}, 0
for i, p in ipairs(people) do out[i] = p[1] .. ":" .. p[2]; total = total + p[2] end
print("people " .. table.concat(out, " "))
print(("mean %.2f"):format(total / #people))
local function counter() local n = 0 return function() n = n + 1 return n end end
local c = counter()
print(("counter %d %d %d"):format(c(), c(), c()))
local function hanoi(n) return n == 0 and 0 or 2 * hanoi(n - 1) + 1 end
print("hanoi 10 " .. hanoi(10))
local ok, err = pcall(function() error({kind = "division"}) end)
if not ok then print("caught " .. err.kind) end
print((("2026-11-21"):gsub("(%d+)-(%d+)-(%d+)", "%3/%2/%1")))
