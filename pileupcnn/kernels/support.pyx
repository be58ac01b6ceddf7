"""The reads of a further sample that support another sample's candidates.

As in DeepVariant 1.9's variant_calling_multisample: a read supports the ALT
that is its allele at the candidate's position, of whatever quality.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcmp
from cython.operator cimport dereference
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from pileupcnn.kernels.arrays cimport copy_array
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.vectors cimport fill
from pileupcnn.kernels.walk cimport DELETION, INSERTION, SOFT_CLIP, Allele, AlleleWalk


cdef class SupportFinder(AlleleWalk):
    """Finds the reads of a run of partitions that support given alleles.

    Parameters
    ----------
    min_base_quality : int
        Matching bases below it say nothing.
    """

    cdef vector[int64_t] offset
    cdef vector[int32_t] support
    # one candidate: the reads of each of its alleles, and an allele spelt as its ALTs are
    cdef vector[vector[int32_t]] found
    cdef vector[uint8_t] spelling

    def __cinit__(self, int min_base_quality):
        self.min_quality = min_base_quality

    def find(
        self, reads, candidates, const int64_t[::1] starts, const int64_t[::1] ends,
        const uint8_t[::1] reference, int64_t reference_start,
    ):
        """The supporting reads of the candidates' alleles, as `CandidateBatch` has them.

        Parameters
        ----------
        reads : ReadBatch
        candidates : CandidateBatch
            Of another sample, of the same partitions [starts[k], ends[k]).
        starts, ends : int64 [p]
        reference, reference_start
            As for `AlleleCounter.count`.

        Returns
        -------
        int64 [a + 1], int32
        """
        cdef const int64_t[::1] offset = reads.partition_offset
        cdef const int32_t[::1] members = reads.partition_reads
        cdef const int64_t[::1] start = candidates.start, base_offset = candidates.base_offset
        cdef const int64_t[::1] allele_offset = candidates.allele_offset
        cdef const int32_t[::1] partition = candidates.partition
        cdef const uint8_t[::1] bases = candidates.bases
        cdef int64_t c
        cdef int32_t k, a, alleles, last = -1
        cdef double began
        self._take(reads, reference, reference_start)
        fill(self.offset, 1, 0)
        self.support.clear()
        with nogil:
            began = thread_seconds()
            for c in range(start.shape[0]):
                k = partition[c]
                if k != last:
                    self._collect(
                        &members[offset[k]], offset[k + 1] - offset[k], starts[k], ends[k]
                    )
                    last = k
                alleles = <int32_t>(allele_offset[c + 1] - allele_offset[c])
                self._assign(
                    <int32_t>(start[c] - starts[k]), alleles, &bases[0],
                    &base_offset[allele_offset[c]],
                )
                for a in range(alleles):
                    self.support.insert(
                        self.support.end(), self.found[a].begin(), self.found[a].end()
                    )
                    self.offset.push_back(self.support.size())
            count_released(began)
        return (
            copy_array(self.offset.data(), self.offset.size(), np.int64),
            copy_array(self.support.data(), self.support.size(), np.int32),
        )

    cdef int _assign(
        self, int32_t p, int32_t alleles, const uint8_t *bases, const int64_t *bounds
    ) except -1 nogil:
        """Give the reads with an allele at position p of the interval to the ALT that it is."""
        cdef int32_t i, a
        cdef int64_t length
        self.found.resize(max(<size_t>alleles, self.found.size()))
        for a in range(alleles):
            self.found[a].clear()
        for i in range(self.position_offset[p], self.position_offset[p + 1]):
            if not self._spell(self.sorted_alleles[i], bases + bounds[0], bounds[1] - bounds[0]):
                continue
            for a in range(1, alleles):
                length = bounds[a + 1] - bounds[a]
                if length == <int64_t>self.spelling.size() and (
                    memcmp(bases + bounds[a], self.spelling.data(), length) == 0
                ):
                    self.found[a].push_back(self.sorted_alleles[i].read)

    cdef bint _spell(self, Allele &allele, const uint8_t *ref, int64_t length) except -1 nogil:
        """Write what an allele would be as an ALT of REF; false if it reaches further."""
        cdef int64_t deleted = allele.length if allele.type == DELETION else 0
        if allele.type == SOFT_CLIP or deleted >= length:
            return False
        fill(self.spelling, 1, allele.first)
        if allele.type == INSERTION:
            self.spelling.insert(
                self.spelling.end(), self._tail(allele), self._tail(allele) + allele.length
            )
        self.spelling.insert(self.spelling.end(), ref + 1 + deleted, ref + length)
        return True


def match_names(first, second):
    """For each read of a `ReadBatch` the one of another with its name and number.

    Returns
    -------
    int32 [len(second)]
        Index into `first`; -1 where there is none.
    """
    cdef const int64_t[::1] first_offset = first.name_offset, second_offset = second.name_offset
    cdef const uint8_t[::1] first_names = first.names, second_names = second.names
    cdef const uint8_t[::1] first_number = first.read_number, second_number = second.read_number
    cdef unordered_map[string, int32_t] places
    cdef unordered_map[string, int32_t].iterator place
    cdef string key
    cdef int32_t i
    matches = np.full(len(second), -1, dtype=np.int32)
    cdef int32_t[::1] view = matches
    with nogil:
        for i in range(<int32_t>first_number.shape[0]):
            key.assign(
                <const char *>&first_names[first_offset[i]], first_offset[i + 1] - first_offset[i]
            )
            key.push_back(<char>first_number[i])
            # twins are one read; the first stands for them
            places.insert(pair[string, int32_t](key, i))
        for i in range(view.shape[0]):
            key.assign(
                <const char *>&second_names[second_offset[i]],
                second_offset[i + 1] - second_offset[i],
            )
            key.push_back(<char>second_number[i])
            place = places.find(key)
            if place != places.end():
                view[i] = dereference(place).second
    return matches
