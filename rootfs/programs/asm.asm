; Prints the Fibonacci numbers below 1000, one a line: loops, division, a buffer and system calls.
global _start
section .bss
buffer: resb 32
section .text
_start:
	xor r12, r12
	mov r13, 1
.next:
	mov rax, r12
	lea rsi, [rel buffer + 31]
	mov byte [rsi], 10
	mov rcx, 10
.digit:
	xor edx, edx
	div rcx
	add dl, '0'
	dec rsi
	mov [rsi], dl
	test rax, rax
	jnz .digit
	lea rdx, [rel buffer + 32]
	sub rdx, rsi
	mov eax, 1
	mov edi, 1
	syscall
	lea rax, [r12 + r13]
	mov r12, r13
	mov r13, rax
	cmp r12, 1000
	jb .next
	mov eax, 60
	xor edi, edi
	syscall
