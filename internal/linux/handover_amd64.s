#include "textflag.h"

DATA ·handler(SB)/8, $handOver<>(SB)
GLOBL ·handler(SB), RODATA, $8
DATA ·restorer(SB)/8, $restore<>(SB)
GLOBL ·restorer(SB), RODATA, $8

// A signal handler: DI is the signal. tgkill(handOverTo.process, handOverTo.thread, signal).
TEXT handOver<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVL DI, DX
	MOVL ·handOverTo+0(SB), DI
	MOVL ·handOverTo+4(SB), SI
	MOVL $234, AX
	SYSCALL
	RET

// rt_sigreturn()
TEXT restore<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVL $15, AX
	SYSCALL
	INT $3
