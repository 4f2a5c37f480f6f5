-- Words, laziness, sieve, records, state, recursion and errors.
import Control.Exception (ArithException (DivideByZero), evaluate, try)
import Data.IORef (modifyIORef, newIORef, readIORef)
import Data.List (sortBy, sortOn)
import qualified Data.Map as Map
import Data.Ord (Down (..), comparing)
import Text.Printf (printf)

data Person = Person {name :: String, age :: Int}

hanoi :: Int -> Int
hanoi 0 = 0
hanoi n = 2 * hanoi (n - 1) + 1

main :: IO ()
main = do
  let count = Map.fromListWith (+) [(w, 1 :: Int) | w <- words "the quick brown fox jumps over the lazy dog the fox sleeps"]
  mapM_ (uncurry (printf "%-6s%3d\n")) (take 3 (sortOn (\(w, n) -> (Down n, w)) (Map.toList count)))
  let fibs = 0 : 1 : zipWith (+) fibs (tail fibs) :: [Integer]
  putStrLn ("fib 60 " ++ show (fibs !! 60))
  let sieve (p : xs) = p : sieve [x | x <- xs, x `mod` p /= 0]
  putStrLn (unwords ("primes" : map show (takeWhile (< 30) (sieve [2 ..]))))
  let people = sortBy (comparing age <> comparing name) [Person "Alice" 30, Person "Carol" 30, Person "Bob" 25]
  putStrLn (unwords ("people" : [name p ++ ":" ++ show (age p) | p <- people]))
  printf "mean %.2f\n" (fromIntegral (sum (map age people)) / 3 :: Double)
  counter <- newIORef (0 :: Int)
  let step = modifyIORef counter (+ 1) >> readIORef counter
  steps <- sequence [step, step, step]
  putStrLn (unwords ("counter" : map show steps))
  putStrLn ("hanoi 10 " ++ show (hanoi 10))
  r <- try (evaluate (1 `div` (length people - 3)))
  case r of
    Left DivideByZero -> putStrLn "caught division"
    other -> print other
