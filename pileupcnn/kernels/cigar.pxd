"""The operations of a CIGAR, as BAM numbers them."""

cdef enum:
    OP_M = 0
    OP_I = 1
    OP_D = 2
    OP_N = 3
    OP_S = 4
    OP_H = 5
    OP_P = 6
    OP_EQ = 7
    OP_X = 8
