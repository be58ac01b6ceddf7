"""Reads of a run of partitions, swept with one iterator a file into arrays.

Every record that overlaps a partition and passes the filters is decoded once;
each partition keeps the indices of its reads. Above the cap a partition's
reads are a reservoir sample (Vitter's algorithm R, the generator restarted in
every partition), and a read that no partition holds any longer is given up,
so memory is bounded by partitions times cap, whatever the depth.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, strcmp
from libcpp.vector cimport vector
from pysam.libcalignmentfile cimport AlignmentFile
from pysam.libchtslib cimport (
    bam1_t,
    bam_destroy1,
    bam_endpos,
    bam_get_cigar,
    bam_get_qname,
    bam_get_qual,
    bam_get_seq,
    bam_init1,
    hts_idx_t,
    hts_itr_t,
    htsFile,
    sam_itr_destroy,
    sam_itr_queryi,
)

from pileupcnn.kernels.arrays cimport copy_array
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.mersenne cimport Twister32, below32, seed32
from pileupcnn.kernels.modifications cimport read_modifications


cdef extern from "htslib/sam.h" nogil:
    int sam_itr_next(htsFile *fp, hts_itr_t *itr, bam1_t *record)
    uint8_t *bam_aux_get(const bam1_t *record, const char *tag)
    int64_t bam_aux2i(const uint8_t *value)
    char *bam_aux2Z(const uint8_t *value)

cdef extern from *:
    """
    #include <vector>
    static inline uint64_t pileupcnn_hash(const char *text, size_t n) {
        // FNV-1a, then a finaliser: the same on every machine
        uint64_t h = 1469598103934665603ULL;
        for (size_t i = 0; i < n; i++) { h ^= (unsigned char)text[i]; h *= 1099511628211ULL; }
        h ^= h >> 33; h *= 0xff51afd7ed558ccdULL; h ^= h >> 33;
        return h;
    }
    // Moves read `old`'s items to where read `to` begins; `last`: also sets its end
    // (bases and qualities share their offsets, which only the second may change).
    template <class T>
    static void pileupcnn_move(
        std::vector<T> &data, std::vector<int64_t> &offset, int32_t old, int32_t to, bool last
    ) {
        int64_t source = offset[old], target = offset[to], n = offset[old + 1] - source;
        if (source != target)
            std::copy(data.begin() + source, data.begin() + source + n, data.begin() + target);
        if (last) offset[to + 1] = target + n;
    }
    """
    uint64_t pileupcnn_hash(const char *text, size_t n) nogil
    void pileupcnn_move[T](
        vector[T] &data, vector[int64_t] &offset, int32_t old, int32_t to, bint last
    ) nogil

SKIP_REASONS = (
    "unmapped",
    "duplicate",
    "failed quality check",
    "secondary alignment",
    "supplementary alignment",
    "low mapping quality",
    "mate on another contig",
    "no bases or no base qualities",
    "CIGAR that does not fit the bases",
    "other sample",
)

cdef enum Skip:
    UNMAPPED, DUPLICATE, QC_FAIL, SECONDARY, SUPPLEMENTARY, LOW_MAPQ, IMPROPER, NO_BASES,
    BAD_CIGAR, OTHER_SAMPLE, KEPT

cdef enum:
    F_PAIRED = 0x1
    F_PROPER = 0x2
    F_UNMAPPED = 0x4
    F_MATE_UNMAPPED = 0x8
    F_READ1 = 0x40
    F_SECONDARY = 0x100
    F_QC_FAIL = 0x200
    F_DUPLICATE = 0x400
    F_SUPPLEMENTARY = 0x800

RESERVOIR_SEED = 609314161
"""Seed of a partition's reservoir, DeepVariant's."""

cdef uint32_t _RESERVOIR_SEED = RESERVOIR_SEED

# two bases for each packed byte; bit masks of the operations that consume query and reference
cdef uint16_t PAIRS[256]
cdef bytes _LETTERS = b"=ACMGRSVTWYHKDBN"
cdef int _code
for _code in range(256):
    PAIRS[_code] = <int>_LETTERS[_code >> 4] | <int>_LETTERS[_code & 15] << 8
cdef uint32_t QUERY_OPS = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 7 | 1 << 8
cdef uint32_t REFERENCE_OPS = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 7 | 1 << 8


cdef void skip_to(hts_itr_t *iterator, uint64_t earliest) noexcept nogil:
    """Cut what lies before a virtual offset from the chunks that an iterator will read."""
    cdef int i, kept = 0
    for i in range(iterator.n_off):
        if iterator.off[i].v > earliest:
            iterator.off[kept] = iterator.off[i]
            iterator.off[kept].u = max(iterator.off[kept].u, earliest)
            kept += 1
    iterator.n_off = kept


cdef struct Filters:
    int min_mapping_quality
    uint16_t excluded_flags


cdef class ReadSweep:
    """Collects the reads of one run of partitions, file after file.

    Parameters
    ----------
    starts, ends : int64 [p]
        The partitions: ascending, not overlapping, one contig.
    max_reads : int
        Reads a partition keeps; 0 for all.
    min_mapping_quality : int
    excluded_flags : int
        Records with any of these SAM flags are skipped.
    read_haplotypes, read_modifications : bool
        Whether to read the tag HP, and MM, ML and MN.
    """

    cdef int64_t[::1] starts, ends
    cdef int32_t max_reads
    cdef bint read_haplotypes, read_modifications
    cdef Filters filters
    cdef int64_t skipped[11]
    cdef vector[int64_t] start, end, base_offset, cigar_offset, name_offset
    cdef vector[uint16_t] flag
    cdef vector[uint8_t] mapping_quality, read_number, bases, qualities, names
    cdef vector[uint8_t] methylation, methylation_6ma
    cdef vector[int32_t] fragment_length, haplotype, holders, twin
    cdef vector[uint32_t] cigar
    cdef vector[uint64_t] key
    cdef vector[vector[int32_t]] members
    cdef vector[int64_t] seen
    cdef vector[int32_t] twister_of
    cdef vector[Twister32] twisters
    cdef vector[int32_t] slots
    cdef int32_t unheld
    cdef uint64_t next_offset

    def __cinit__(
        self, int64_t[::1] starts, int64_t[::1] ends, int max_reads, int min_mapping_quality,
        int excluded_flags, bint read_haplotypes=False, bint read_modifications=False,
    ):
        cdef int i
        self.starts, self.ends = starts, ends
        self.max_reads = max_reads
        self.read_haplotypes, self.read_modifications = read_haplotypes, read_modifications
        self.filters.min_mapping_quality = min_mapping_quality
        self.filters.excluded_flags = <uint16_t>excluded_flags
        for i in range(11):
            self.skipped[i] = 0
        self.members.resize(starts.shape[0])
        self.seen.resize(starts.shape[0], 0)
        self.twister_of.resize(starts.shape[0], -1)
        self.slots.resize(starts.shape[0])
        self.base_offset.push_back(0)
        self.cigar_offset.push_back(0)
        self.name_offset.push_back(0)
        self.unheld = 0

    def add_file(
        self, AlignmentFile file, int tid, int64_t file_size, list read_groups,
        uint64_t earliest=0,
    ):
        """Sweep one file; return what is wrong with it, and where the next sweep may start.

        Parameters
        ----------
        file : pysam.AlignmentFile
            Open, with its index.
        tid : int
            The contig's number in this file.
        file_size : int
            Bytes; 0 for a file whose index holds no offsets into it (CRAM).
        read_groups : list of bytes
            IDs of the read groups to take; empty for all records.
        earliest : int
            Virtual offset before which no record overlaps the run. The index
            knows it to 16 kb only; a sweep that has just ended knows better.

        Returns
        -------
        problem : str
            Empty if there is none.
        offset : int
            Virtual offset before which no record overlaps what lies right of
            the run.
        """
        cdef vector[char *] groups
        cdef bytes group
        for group in read_groups:
            groups.push_back(group)
        cdef hts_idx_t *index = file.index
        cdef htsFile *handle = file.htsfile
        cdef int status
        cdef double began
        with nogil:
            began = thread_seconds()
            status = self._sweep(handle, index, tid, file_size, groups, earliest)
            count_released(began)
        problem = {
            0: "",
            1: "the index cannot be read",
            2: "the index points past the end of the file",
            3: "a record cannot be read",
            4: "the records are not sorted by position",
        }[status]
        return problem, self.next_offset

    cdef int _sweep(
        self, htsFile *handle, hts_idx_t *index, int tid, int64_t file_size,
        vector[char *] &groups, uint64_t earliest,
    ) except -1 nogil:
        cdef int64_t n = self.starts.shape[0], previous = -1
        cdef int64_t run_start = self.starts[0], run_end = self.ends[n - 1]
        cdef int32_t first = 0
        cdef int i, status = 0, got
        cdef hts_itr_t *iterator = sam_itr_queryi(index, tid, run_start, run_end)
        if iterator == NULL:
            return 1
        if file_size > 0:
            for i in range(iterator.n_off):
                if <int64_t>(iterator.off[i].u >> 16) >= file_size or (
                    <int64_t>(iterator.off[i].v >> 16) > file_size
                ):
                    sam_itr_destroy(iterator)
                    return 2
        skip_to(iterator, earliest)
        self.next_offset = earliest
        cdef uint64_t offset = earliest
        cdef bint passed = False
        cdef bam1_t *record = bam_init1()
        while True:
            offset = max(offset, iterator.curr_off)
            got = sam_itr_next(handle, iterator, record)
            if not passed and (got < 0 or bam_endpos(record) > run_end):
                # all before this end left of the run's end; what the iterator skipped
                # since is read again, which does no harm
                self.next_offset = offset
                passed = True
            if got < 0:
                if got < -1:
                    status = 3
                break
            if record.core.pos < previous:
                status = 4
                break
            previous = record.core.pos
            first = self._add(record, first, groups)
        bam_destroy1(record)
        sam_itr_destroy(iterator)
        return status

    cdef int32_t _add(
        self, bam1_t *record, int32_t first, vector[char *] &groups
    ) except -1 nogil:
        """Take one record; return the first partition a later record can overlap."""
        cdef int32_t n = <int32_t>self.starts.shape[0], k, slot, chosen = 0, index
        cdef int64_t start = record.core.pos, span = 0, query = 0, stop
        cdef uint32_t *cigar = bam_get_cigar(record)
        cdef uint32_t op, length, j
        while first < n and self.ends[first] <= start:
            first += 1
        for j in range(record.core.n_cigar):
            op, length = cigar[j] & 15, cigar[j] >> 4
            if REFERENCE_OPS >> op & 1:
                span += length
            if QUERY_OPS >> op & 1:
                query += length
        # htslib gives a record without reference bases a length of one
        stop = start + (span if span > 0 and not record.core.flag & F_UNMAPPED else 1)
        if first == n or self.starts[first] >= stop:
            return first
        cdef int reason = self._skip(record, query, groups)
        if reason != KEPT:
            # counted where it starts, so once, however the genome is cut into blocks
            if start >= self.starts[first]:
                self.skipped[reason] += 1
            return first
        k = first
        while k < n and self.starts[k] < stop:
            slot = self._slot(k)
            self.slots[k] = slot
            chosen += slot >= 0
            k += 1
        if chosen:
            index = <int32_t>self.start.size()
            self._decode(record, start, start + span)
            self.holders.push_back(chosen)
            while k > first:
                k -= 1
                slot = self.slots[k]
                if slot == <int32_t>self.members[k].size():
                    self.members[k].push_back(index)
                elif slot >= 0:
                    self._release(self.members[k][slot])
                    self.members[k][slot] = index
            if self.unheld > 4096 and self.unheld > index // 2:
                self._compact()
        return first

    cdef int _skip(self, bam1_t *record, int64_t query, vector[char *] &groups) noexcept nogil:
        cdef uint16_t flag = record.core.flag, bad = flag & self.filters.excluded_flags
        cdef uint8_t *tag
        cdef char *group
        cdef size_t i
        if groups.size():
            tag = bam_aux_get(record, "RG")
            group = bam_aux2Z(tag) if tag != NULL else NULL
            if group == NULL:
                return OTHER_SAMPLE
            for i in range(groups.size()):
                if strcmp(group, groups[i]) == 0:
                    break
            else:
                return OTHER_SAMPLE
        if flag & F_UNMAPPED:
            return UNMAPPED
        if bad:
            if bad & F_DUPLICATE:
                return DUPLICATE
            if bad & F_QC_FAIL:
                return QC_FAIL
            return SECONDARY if bad & F_SECONDARY else SUPPLEMENTARY
        if record.core.qual < self.filters.min_mapping_quality:
            return LOW_MAPQ
        if (
            flag & F_PAIRED and not flag & (F_PROPER | F_MATE_UNMAPPED)
            and record.core.mtid >= 0 and record.core.mtid != record.core.tid
        ):
            return IMPROPER
        if record.core.l_qseq == 0 or bam_get_qual(record)[0] == 0xFF:
            return NO_BASES
        return KEPT if query == record.core.l_qseq else BAD_CIGAR

    cdef int32_t _slot(self, int32_t k) except -2 nogil:
        """Where partition k puts its next read; -1 if the reservoir turns it away."""
        cdef int64_t seen = self.seen[k]
        self.seen[k] += 1
        if self.max_reads == 0 or seen < self.max_reads:
            return <int32_t>self.members[k].size()
        if self.twister_of[k] < 0:
            self.twister_of[k] = <int32_t>self.twisters.size()
            self.twisters.push_back(Twister32())
            seed32(&self.twisters[self.twister_of[k]], _RESERVOIR_SEED)
        cdef uint32_t draw = below32(
            &self.twisters[self.twister_of[k]], <uint32_t>(seen + 1)
        )
        return <int32_t>draw if draw < <uint32_t>self.max_reads else -1

    cdef int _release(self, int32_t index) except -1 nogil:
        self.holders[index] -= 1
        if self.holders[index] == 0:
            self.unheld += 1

    cdef int _decode(self, bam1_t *record, int64_t start, int64_t end) except -1 nogil:
        cdef int64_t length = record.core.l_qseq, at = self.bases.size(), i
        cdef uint8_t *packed = bam_get_seq(record)
        cdef uint8_t *unpacked
        cdef uint8_t *tag
        cdef uint8_t number
        cdef char *name = bam_get_qname(record)
        cdef size_t name_length = record.core.l_qname - record.core.l_extranul - 1
        cdef uint16_t flag = record.core.flag
        self.start.push_back(start)
        self.end.push_back(end)
        self.flag.push_back(flag)
        self.mapping_quality.push_back(record.core.qual)
        self.fragment_length.push_back(<int32_t>record.core.isize)
        if self.read_haplotypes:
            tag = bam_aux_get(record, "HP")
            self.haplotype.push_back(<int32_t>bam_aux2i(tag) if tag != NULL else 0)
        number = 1 if flag & F_PAIRED and not flag & F_READ1 else 0
        self.read_number.push_back(number)
        self.bases.resize(at + length)
        unpacked = self.bases.data() + at
        for i in range(length // 2):
            memcpy(unpacked + 2 * i, &PAIRS[packed[i]], 2)
        if length & 1:
            unpacked[length - 1] = <uint8_t>(PAIRS[packed[length // 2]] & 0xFF)
        self.qualities.insert(
            self.qualities.end(), bam_get_qual(record), bam_get_qual(record) + length
        )
        if self.read_modifications:
            self.methylation.resize(at + length, 0)
            self.methylation_6ma.resize(at + length, 0)
            read_modifications(
                record, unpacked, self.methylation.data() + at, self.methylation_6ma.data() + at
            )
        self.base_offset.push_back(at + length)
        for i in range(record.core.n_cigar):
            # an operation of length 0 says nothing, but would be drawn and counted
            if bam_get_cigar(record)[i] >> 4:
                self.cigar.push_back(bam_get_cigar(record)[i])
        self.cigar_offset.push_back(self.cigar.size())
        self.names.insert(self.names.end(), <uint8_t *>name, <uint8_t *>name + name_length)
        self.name_offset.push_back(self.names.size())
        self.key.push_back(pileupcnn_hash(name, name_length) * 2 + number)

    cdef int _compact(self) except -1 nogil:
        """Drop the reads that no partition holds."""
        cdef int32_t n = <int32_t>self.start.size(), i, kept = 0
        cdef size_t k, j
        cdef vector[int32_t] moved = vector[int32_t](n, -1)
        for i in range(n):
            if self.holders[i] == 0:
                continue
            moved[i] = kept
            self.start[kept], self.end[kept] = self.start[i], self.end[i]
            self.flag[kept], self.key[kept] = self.flag[i], self.key[i]
            self.mapping_quality[kept] = self.mapping_quality[i]
            self.read_number[kept] = self.read_number[i]
            self.fragment_length[kept] = self.fragment_length[i]
            self.holders[kept] = self.holders[i]
            if self.read_haplotypes:
                self.haplotype[kept] = self.haplotype[i]
            if self.read_modifications:
                pileupcnn_move(self.methylation, self.base_offset, i, kept, False)
                pileupcnn_move(self.methylation_6ma, self.base_offset, i, kept, False)
            pileupcnn_move(self.bases, self.base_offset, i, kept, False)
            pileupcnn_move(self.qualities, self.base_offset, i, kept, True)
            pileupcnn_move(self.cigar, self.cigar_offset, i, kept, True)
            pileupcnn_move(self.names, self.name_offset, i, kept, True)
            kept += 1
        for k in range(self.members.size()):
            for j in range(self.members[k].size()):
                self.members[k][j] = moved[self.members[k][j]]
        self.start.resize(kept)
        self.end.resize(kept)
        self.flag.resize(kept)
        self.key.resize(kept)
        self.mapping_quality.resize(kept)
        self.read_number.resize(kept)
        self.fragment_length.resize(kept)
        self.haplotype.resize(kept if self.read_haplotypes else 0)
        self.holders.resize(kept)
        self.base_offset.resize(kept + 1)
        self.cigar_offset.resize(kept + 1)
        self.name_offset.resize(kept + 1)
        self.bases.resize(self.base_offset[kept])
        self.qualities.resize(self.base_offset[kept])
        self.methylation.resize(self.base_offset[kept] if self.read_modifications else 0)
        self.methylation_6ma.resize(self.methylation.size())
        self.cigar.resize(self.cigar_offset[kept])
        self.names.resize(self.name_offset[kept])
        self.unheld = 0

    cdef int _find_twins(self) except -1 nogil:
        """Point each read at the first with its name and number, by an open hash table."""
        cdef size_t size = 16, slot
        cdef int32_t i
        cdef vector[int32_t] table
        while size < 2 * self.key.size():
            size *= 2
        table.resize(size, -1)
        self.twin.resize(self.key.size())
        for i in range(<int32_t>self.key.size()):
            slot = self.key[i] & (size - 1)
            while table[slot] >= 0 and self.key[table[slot]] != self.key[i]:
                slot = (slot + 1) & (size - 1)
            if table[slot] < 0:
                table[slot] = i
            self.twin[i] = table[slot]

    def arrays(self):
        """The reads as a dict of arrays with the names of `ReadBatch`'s attributes.

        None for what was not to be read.
        """
        cdef double began
        with nogil:
            began = thread_seconds()
            if self.unheld:
                self._compact()
            self._find_twins()
            count_released(began)
        cdef size_t partitions = self.members.size()
        offsets = np.zeros(partitions + 1, dtype=np.int64)
        cdef int64_t[::1] view = offsets
        cdef size_t k
        for k in range(partitions):
            view[k + 1] = view[k] + self.members[k].size()
        partition_reads = np.empty(view[partitions], dtype=np.int32)
        cdef int32_t[::1] reads = partition_reads
        for k in range(self.members.size()):
            if self.members[k].size():
                memcpy(&reads[view[k]], self.members[k].data(), self.members[k].size() * 4)
        return {
            "start": copy_array(self.start.data(), self.start.size(), np.int64),
            "end": copy_array(self.end.data(), self.end.size(), np.int64),
            "flag": copy_array(self.flag.data(), self.flag.size(), np.uint16),
            "mapping_quality": copy_array(self.mapping_quality.data(), self.mapping_quality.size(), np.uint8),
            "fragment_length": copy_array(self.fragment_length.data(), self.fragment_length.size(), np.int32),
            "haplotype": (
                copy_array(self.haplotype.data(), self.haplotype.size(), np.int32)
                if self.read_haplotypes else None
            ),
            "read_number": copy_array(self.read_number.data(), self.read_number.size(), np.uint8),
            "twin": copy_array(self.twin.data(), self.twin.size(), np.int32),
            "base_offset": copy_array(self.base_offset.data(), self.base_offset.size(), np.int64),
            "bases": copy_array(self.bases.data(), self.bases.size(), np.uint8),
            "qualities": copy_array(self.qualities.data(), self.qualities.size(), np.uint8),
            "cigar_offset": copy_array(self.cigar_offset.data(), self.cigar_offset.size(), np.int64),
            "cigar": copy_array(self.cigar.data(), self.cigar.size(), np.uint32),
            "name_offset": copy_array(self.name_offset.data(), self.name_offset.size(), np.int64),
            "names": copy_array(self.names.data(), self.names.size(), np.uint8),
            "partition_offset": offsets,
            "partition_reads": partition_reads,
            "methylation": (
                copy_array(self.methylation.data(), self.methylation.size(), np.uint8)
                if self.read_modifications else None
            ),
            "methylation_6ma": (
                copy_array(self.methylation_6ma.data(), self.methylation_6ma.size(), np.uint8)
                if self.read_modifications else None
            ),
        }

    def skip_counts(self):
        """Records skipped, by the reasons of `SKIP_REASONS`."""
        return {reason: self.skipped[i] for i, reason in enumerate(SKIP_REASONS) if self.skipped[i]}
