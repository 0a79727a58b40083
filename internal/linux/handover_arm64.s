#include "textflag.h"

DATA ·handler(SB)/8, $handOver<>(SB)
GLOBL ·handler(SB), RODATA, $8
DATA ·restorer(SB)/8, $restore<>(SB)
GLOBL ·restorer(SB), RODATA, $8

// A signal handler: R0 is the signal. tgkill(handOverTo.process, handOverTo.thread, signal).
TEXT handOver<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVW R0, R2
	MOVW ·handOverTo+0(SB), R0
	MOVW ·handOverTo+4(SB), R1
	MOVD $131, R8
	SVC
	RET

// rt_sigreturn()
TEXT restore<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVD $139, R8
	SVC
	BRK
