; A paravirtual guest of Xen that waits for ever, for checks that start many of them: Linux takes ten times as long to
; come and five times the memory. An ELF64 executable by hand: `nasm -f bin`. What Xen reads of it stands in its notes
; (xen/include/public/elfnote.h), how it calls Xen in arch-x86/xen-x86_64.h.
bits 64
BASE equ 0x100000
org BASE

file_header:
  db 0x7f, "ELF", 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
  dw 2, 62                                  ; an executable for x86-64
  dd 1
  dq entry, program_headers - BASE, 0
  dd 0
  dw 64, 56, 2, 0, 0, 0
program_headers:
  dd 1, 7                                   ; PT_LOAD: all of this file
  dq 0, BASE, BASE, end - BASE, end - BASE, 4096
  dd 4, 4                                   ; PT_NOTE
  dq notes - BASE, notes, notes, notes_end - notes, notes_end - notes, 4

%macro note 2+                              ; number, content
  dd 4, %%end - %%content, %1
  db "Xen", 0
%%content:
  %2
%%end:
  align 4, db 0
%endmacro

align 4, db 0
notes:
  note 6, db "gannet-lab", 0                ; GUEST_OS
  note 5, db "xen-3.0", 0                   ; XEN_VERSION
  note 3, dq 0                              ; VIRT_BASE
  note 4, dq 0                              ; PADDR_OFFSET
  note 1, dq entry                          ; ENTRY
  note 9, db "yes", 0                       ; PAE_MODE
  note 8, db "generic", 0                   ; LOADER
notes_end:

entry:
  mov eax, 29                               ; sched_op
  mov edi, 3                                ; SCHEDOP_poll, of no event channel and without a timeout
  lea rsi, [rel poll]
  syscall
  jmp entry

align 8, db 0
poll:
  dq 0
  dd 0, 0
  dq 0
end:
