; Words, memo, sieve, records, closures, recursion, errors and regular expressions.
(require '[clojure.string :as str])

(def text "the quick brown fox jumps over the lazy dog the fox sleeps")
(doseq [[w n] (take 3 (sort-by (juxt (comp - val) key) (frequencies (str/split text #" "))))]
  (println (format "%-6s%3d" w n)))
(def fib (memoize (fn [n] (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))))
(println "fib 60" (fib 60))
(println "primes" (str/join " " (filter (fn [n] (not-any? #(zero? (mod n %)) (range 2 n))) (range 2 30))))
(def people (sort-by (juxt :age :name) [{:name "Alice" :age 30} {:name "Carol" :age 30} {:name "Bob" :age 25}]))
(println "people" (str/join " " (map #(str (:name %) ":" (:age %)) people)))
(println (format "mean %.2f" (double (/ (reduce + (map :age people)) (count people)))))
(defn counter [] (let [n (atom 0)] #(swap! n inc)))
(let [c (counter)] (println "counter" (c) (c) (c)))
(defn hanoi [n] (if (zero? n) 0 (inc (* 2 (hanoi (dec n))))))
(println "hanoi 10" (hanoi 10))
(try (/ 1 0) (catch ArithmeticException _ (println "caught division")))
(println (str/replace "2026-11-21" #"(\d+)-(\d+)-(\d+)" "$3/$2/$1"))
