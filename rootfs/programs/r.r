# Words, memo, sieve, data frames, closures, recursion, errors and regular expressions.
words <- table(strsplit("the quick brown fox jumps over the lazy dog the fox sleeps", " ")[[1]])
words <- words[order(-words, names(words))]
for (w in names(words)[1:3]) cat(sprintf("%-6s%3d\n", w, words[[w]]))
memo <- new.env()
fib <- function(n) {
  if (n < 2) return(n)
  key <- as.character(n)
  if (is.null(memo[[key]])) memo[[key]] <- fib(n - 1) + fib(n - 2)
  memo[[key]]
}
cat(sprintf("fib 60 %.0f\n", fib(60)))
primes <- Filter(function(n) n == 2 || all(n %% 2:(n - 1) != 0), 2:29)
cat("primes", primes, fill = TRUE)
people <- data.frame(name = c("Alice", "Carol", "Bob"), age = c(30, 30, 25))
people <- people[order(people$age, people$name), ]
cat("people", paste(people$name, people$age, sep = ":"), fill = TRUE)
cat(sprintf("mean %.2f\n", mean(people$age)))
counter <- function() { n <- 0; function() n <<- n + 1 }
step <- counter()
cat("counter", step(), step(), step(), fill = TRUE)
hanoi <- function(n) if (n == 0) 0 else 2 * hanoi(n - 1) + 1
cat("hanoi 10", hanoi(10), fill = TRUE)
divide <- function(a, b) if (b == 0) stop("division") else a / b
tryCatch(divide(1, 0), error = function(e) cat("caught", conditionMessage(e), fill = TRUE))
cat(sub("(\\d+)-(\\d+)-(\\d+)", "\\3/\\2/\\1", "2026-11-21"), fill = TRUE)
