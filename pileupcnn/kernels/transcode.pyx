"""Lines of VCF handed to htslib, which writes its own compressed formats."""

import os

from libc.errno cimport EIO, errno
from libc.stddef cimport ptrdiff_t
from libc.string cimport memchr

from pileupcnn.kernels.clock cimport count_released, thread_seconds


cdef extern from "htslib/kstring.h" nogil:
    ctypedef struct kstring_t:
        size_t l
    void ks_initialize(kstring_t *text)
    void ks_free(kstring_t *text)
    int kputsn(const char *data, size_t length, kstring_t *text)
    char *ks_str(kstring_t *text)

cdef extern from "htslib/hts.h" nogil:
    ctypedef struct htsFile:
        pass
    htsFile *hts_open(const char *path, const char *mode)
    int hts_close(htsFile *file)

cdef extern from "htslib/vcf.h" nogil:
    ctypedef struct bcf_hdr_t:
        pass
    ctypedef struct bcf1_t:
        pass
    bcf_hdr_t *bcf_hdr_init(const char *mode)
    int bcf_hdr_parse(bcf_hdr_t *header, char *text)
    int bcf_hdr_write(htsFile *file, bcf_hdr_t *header)
    void bcf_hdr_destroy(bcf_hdr_t *header)
    bcf1_t *bcf_init()
    void bcf_destroy(bcf1_t *record)
    int vcf_parse(kstring_t *line, const bcf_hdr_t *header, bcf1_t *record)
    int bcf_write(htsFile *file, bcf_hdr_t *header, bcf1_t *record)


cdef class VariantFile:
    """A ``.vcf.gz`` or ``.bcf`` made from the text of a VCF.

    (pysam's class of this name would add an END to every record with a
    symbolic allele.)

    Parameters
    ----------
    path : bytes
        File to write.
    mode : bytes
        htslib's mode: ``wz`` or ``wb``.
    header : bytes
        All lines of the header.

    Raises
    ------
    OSError
        If the file cannot be written, now or later.
    """

    cdef htsFile *file
    cdef bcf_hdr_t *header
    cdef bcf1_t *record
    cdef kstring_t line

    def __cinit__(self, bytes path, bytes mode, bytes header):
        global errno
        ks_initialize(&self.line)
        self.record = bcf_init()
        self.header = bcf_hdr_init(b"r")
        if self.record == NULL or self.header == NULL:
            raise MemoryError
        self._take(header, len(header))
        if bcf_hdr_parse(self.header, ks_str(&self.line)) < 0:
            raise ValueError("not the header of a VCF")
        errno = 0
        self.file = hts_open(path, mode)
        if self.file == NULL or bcf_hdr_write(self.file, self.header) < 0:
            raise _failure()

    def __dealloc__(self):
        if self.file != NULL:
            hts_close(self.file)
        if self.header != NULL:
            bcf_hdr_destroy(self.header)
        if self.record != NULL:
            bcf_destroy(self.record)
        ks_free(&self.line)

    cdef int _take(self, const char *text, size_t length) except -1 nogil:
        self.line.l = 0
        if kputsn(text, length, &self.line) < 0:
            with gil:
                raise MemoryError
        return 0

    def write(self, bytes text):
        """Append records: whole lines, each with its newline."""
        global errno
        cdef const char *at = text
        cdef const char *end = at + len(text)
        cdef const char *stop
        cdef int failed = 0
        cdef double began
        errno = 0
        with nogil:
            began = thread_seconds()
            while at < end and not failed:
                stop = <const char *>memchr(at, 10, end - at)
                if stop == NULL:
                    stop = end
                self._take(at, stop - at)
                if vcf_parse(&self.line, self.header, self.record) < 0:
                    failed = 1
                elif bcf_write(self.file, self.header, self.record) < 0:
                    failed = 2
                at = stop + 1
            count_released(began)
        if failed == 1:
            raise ValueError(f"not a record of a VCF: {text[:80]!r}")
        if failed:
            raise _failure()

    def close(self):
        """Complete the file; once more does nothing."""
        global errno
        cdef htsFile *file = self.file
        cdef int failed
        if file == NULL:
            return
        self.file = NULL
        errno = 0
        with nogil:
            failed = hts_close(file)
        if failed:
            raise _failure()


def _failure():
    number = errno or EIO
    return OSError(number, os.strerror(number))
