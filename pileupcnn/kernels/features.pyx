"""What the small model knows of candidates, as numbers."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t

from pileupcnn.kernels.clock cimport count_released, thread_seconds

cdef enum:
    F_REVERSE = 0x10


cdef struct Sums:
    # over the reads that support something
    int64_t reads
    int64_t mapping_quality
    int64_t base_quality
    int64_t reverse


cdef inline int32_t _share(int64_t part, int64_t whole) noexcept nogil:
    """The whole number of times that `whole` goes into `part`, neither negative; 0 for none."""
    return <int32_t>(part // whole) if whole else 0


cdef class FeatureCounter:
    """Fills in the small model's features of a run's candidates."""

    cdef const int32_t[::1] support
    cdef const uint8_t[::1] base_quality, mapping_quality
    cdef const uint16_t[::1] flag

    def fill(self, reads, candidates, const int32_t[::1] candidate, const int32_t[:, ::1] alts,
             int32_t[:, ::1] features):
        """Write a row for each set of ALTs, in the order of `small_model.FEATURES`.

        Parameters
        ----------
        reads : ReadBatch
        candidates : CandidateBatch
            With details and the reads that support REF.
        candidate, alts
            As in `ImagePlan`.
        features : int32 [m, 70]
        """
        cdef const int64_t[::1] allele_offset = candidates.allele_offset
        cdef const int64_t[::1] base_offset = candidates.base_offset
        cdef const int64_t[::1] support_offset = candidates.support_offset
        cdef const int64_t[::1] uncalled_offset = candidates.details.uncalled_offset
        cdef const int8_t[:, ::1] context = candidates.details.context
        cdef int64_t i, k, c, first, last, total, inserted, deleted, length, reference_length
        cdef int64_t longest, shortest, at
        cdef Sums reference, shown
        cdef double began
        self.support, self.base_quality = candidates.support, candidates.details.base_quality
        self.mapping_quality, self.flag = reads.mapping_quality, reads.flag
        with nogil:
            began = thread_seconds()
            for i in range(candidate.shape[0]):
                c = candidate[i]
                first, last = allele_offset[c], allele_offset[c + 1]
                reference, shown = Sums(0, 0, 0, 0), Sums(0, 0, 0, 0)
                self._add(&reference, support_offset[first], support_offset[first + 1])
                reference_length = base_offset[first + 1] - base_offset[first]
                longest, shortest = 0, 1 << 40
                for k in range(2):
                    if alts[i, k] < 0:
                        continue
                    at = first + 1 + alts[i, k]
                    self._add(&shown, support_offset[at], support_offset[at + 1])
                    length = base_offset[at + 1] - base_offset[at]
                    longest, shortest = max(longest, length), min(shortest, length)
                inserted = max(0, longest - reference_length)
                deleted = max(0, reference_length - shortest)
                total = support_offset[last] - support_offset[first]
                total += uncalled_offset[c + 1] - uncalled_offset[c]
                features[i, 0] = <int32_t>reference.reads
                features[i, 1] = <int32_t>shown.reads
                features[i, 2] = <int32_t>(reference.reads + shown.reads)
                features[i, 3] = <int32_t>total
                features[i, 4] = _share(100 * shown.reads, total)
                features[i, 5] = _share(100 * shown.reads, reference.reads + shown.reads)
                features[i, 6] = _share(reference.mapping_quality, reference.reads)
                features[i, 7] = _share(shown.mapping_quality, shown.reads)
                features[i, 8] = _share(reference.base_quality, reference.reads)
                features[i, 9] = _share(shown.base_quality, shown.reads)
                features[i, 10] = _share(100 * reference.reverse, reference.reads)
                features[i, 11] = _share(100 * shown.reverse, shown.reads)
                features[i, 12] = reference_length == 1 and longest == 1
                features[i, 13] = shortest > reference_length
                features[i, 14] = longest < reference_length
                features[i, 15] = <int32_t>inserted
                features[i, 16] = <int32_t>deleted
                features[i, 17] = last - first > 2
                features[i, 18] = alts[i, 1] >= 0
                for k in range(context.shape[1]):
                    features[i, 19 + k] = max(0, <int32_t>context[c, k])
            count_released(began)

    cdef void _add(self, Sums *sums, int64_t begin, int64_t end) noexcept nogil:
        """Add the reads support[begin:end]."""
        cdef int64_t j
        cdef int32_t read
        sums.reads += end - begin
        for j in range(begin, end):
            read = self.support[j]
            sums.mapping_quality += self.mapping_quality[read]
            sums.base_quality += self.base_quality[j]
            sums.reverse += self.flag[read] & F_REVERSE != 0
