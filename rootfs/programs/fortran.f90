! Arrays, recursion, sorting, strings and modules.
module tools
contains
  recursive integer function hanoi(n) result(h)
    integer, intent(in) :: n
    h = 0
    if (n > 0) h = 2 * hanoi(n - 1) + 1
  end function
  subroutine sort(a)
    integer, intent(inout) :: a(:)
    integer :: i, j, t
    do i = 2, size(a)
      t = a(i)
      j = i - 1
      do while (j >= 1)
        if (a(j) <= t) exit
        a(j + 1) = a(j)
        j = j - 1
      end do
      a(j + 1) = t
    end do
  end subroutine
end module
program main
  use tools
  integer(8) :: f(0:60)
  integer :: i, ages(3) = [30, 31, 25], m(2, 2) = reshape([1, 2, 3, 4], [2, 2]), stat
  character(20) :: text = "hello fortran", bad = "12x"
  f(0:1) = [0, 1]
  do i = 2, 60
    f(i) = f(i - 1) + f(i - 2)
  end do
  print '(a,i0)', "fib 60 ", f(60)
  print '(a,*(1x,i0))', "primes", pack([(i, i = 2, 29)], [(all(mod(i, [(j, j = 2, i - 1)]) /= 0), i = 2, 29)])
  call sort(ages)
  print '(a,*(1x,i0))', "sorted", ages
  print '(a,f0.2)', "mean ", sum(ages) / real(size(ages))
  print '(a,*(1x,i0))', "product", matmul(m, m)
  print '(a,i0)', "hanoi 10 ", hanoi(10)
  print '(a,i0,1x,a)', "index ", index(text, "fortran"), trim(text(7:))
  read (bad, *, iostat=stat) i
  if (stat /= 0) print '(a)', "caught bad number"
end program
