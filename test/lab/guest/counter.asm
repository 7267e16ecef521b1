; A guest that proves itself: it starts within a second under emulated nested virtualisation, counts for ever, and
; writes each number to its disk and to its serial console. The disk's second sector holds what it tells:
;   0  4 bytes  "GNTC"
;   4  word     how often it was booted from this disk
;   6  word     the number it has come to since its last boot
; A live migration therefore keeps the first and raises the second; a failover raises the first.
bits 16
org 0x7c00

SECTOR        equ 0x7e00                ; the second sector in memory
BIOS_TICKS    equ 0x46c                 ; 18.2 a second
TICKS         equ 2                     ; between two numbers: about 110 ms
SERIAL        equ 0x3f8

start:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, start
    sti
    mov [drive], dl
    mov ah, 0x42                        ; read the second sector
    call disk
    cmp dword [SECTOR], 'GNTC'
    je known
    mov dword [SECTOR], 'GNTC'
    mov word [SECTOR + 4], 0
known:
    inc word [SECTOR + 4]
    mov word [SECTOR + 6], 0
    mov al, 'B'                         ; "B" and the number of this boot
    call put
    mov ax, [SECTOR + 4]
    call number
count:
    mov bx, [BIOS_TICKS]
wait_ticks:
    hlt
    mov ax, [BIOS_TICKS]
    sub ax, bx
    cmp ax, TICKS
    jb wait_ticks
    inc word [SECTOR + 6]
    mov ah, 0x43                        ; write it
    call disk
    mov ax, [SECTOR + 6]
    call number
    jmp count

disk:                                   ; ah: the BIOS' function
    mov al, 0
    mov dl, [drive]
    mov si, packet
    int 0x13
    ret

number:                                 ; ax as four hexadecimal digits and a line's end
    mov cx, 4
digit:
    rol ax, 4
    push ax
    and al, 15
    cmp al, 10
    sbb al, 0x69                        ; the classic of three instructions for one hexadecimal digit
    das
    call put
    pop ax
    loop digit
    mov al, 10
put:                                    ; al to the serial port
    push ax
    mov dx, SERIAL + 5
full:
    in al, dx
    test al, 0x20
    jz full
    pop ax
    mov dx, SERIAL
    out dx, al
    ret

drive db 0
align 4
packet:                                 ; of the BIOS' extended read and write
    db 16, 0
    dw 1, SECTOR, 0
    dq 1
times 510 - ($ - $$) db 0
dw 0xaa55
