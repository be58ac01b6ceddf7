"""Genotypes for two lists of variants that give the same two haplotypes.

A haplotype is the reference of a window with one allele of each variant put in
its place. Each side has genotypes to choose from, each at a price; wanted are
choices on both sides that can be phased so that both give the same unordered
pair of sequences, at the lowest price in sum.

Not all pairs of choices are tried. All sequences that the second side can make
are listed and sorted; the first side's are spelled base by base and given up as
soon as no sequence of the list begins so. What is left are the sequences that
both sides can make. Two of them at a time are the two haplotypes.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libcpp.algorithm cimport sort
from libcpp.pair cimport pair
from libcpp.string cimport string
from libcpp.vector cimport vector

import numpy as np

ctypedef pair[string, int32_t] Text


cdef class Side:
    """One side's variants; its group under way, and the haplotypes found for it.

    Parameters
    ----------
    variants : VariantTable
    """

    cdef:
        const int64_t[::1] start, allele_offset, base_offset, option_offset, costs
        const uint8_t[::1] bases
        const int32_t[:, ::1] options
        int32_t[:, ::1] genotypes
        int64_t first, n
        # of the group: each allele's bases that count, and where the reference goes on
        int64_t first_allele
        vector[int64_t] kept, resume
        # of each variant: the alleles of its genotypes; place of a genotype among its options
        vector[int64_t] allowed_offset, place_offset
        vector[int32_t] allowed, place
        # n alleles for each haplotype
        vector[int32_t] haplotypes

    def __cinit__(self, variants):
        self.start, self.bases = variants.start, variants.bases
        self.allele_offset, self.base_offset = variants.allele_offset, variants.base_offset
        self.option_offset, self.options = variants.option_offset, variants.options
        self.costs = variants.costs
        self.genotypes = np.zeros((len(variants.start), 2), np.int32)

    cdef int _begin(self, int64_t first, int64_t last) except -1 nogil:
        """Prepare the group of the variants `first` to `last` (exclusive)."""
        cdef int64_t v, a, o, count, ref, alt, common
        cdef int32_t x, y
        self.first, self.n = first, last - first
        self.first_allele = self.allele_offset[first]
        self.kept.clear()
        self.resume.clear()
        self.allowed.clear()
        self.place.clear()
        self.haplotypes.clear()
        self.allowed_offset.assign(1, 0)
        self.place_offset.assign(1, 0)
        for v in range(first, last):
            count = self.allele_offset[v + 1] - self.allele_offset[v]
            ref = self._length(self.allele_offset[v])
            for a in range(self.allele_offset[v], self.allele_offset[v + 1]):
                alt = self._length(a)
                common = self._common_end(self.allele_offset[v], a) if ref > 1 and alt > 1 else 0
                self.kept.push_back(alt - common)
                self.resume.push_back(self.start[v] + ref - common)
            self.place.resize(self.place.size() + count * count, -1)
            for o in range(self.option_offset[v + 1] - 1, self.option_offset[v] - 1, -1):
                x, y = self.options[o, 0], self.options[o, 1]
                self.place[self.place_offset.back() + x * count + y] = o - self.option_offset[v]
                self.place[self.place_offset.back() + y * count + x] = o - self.option_offset[v]
            for x in range(count):
                for y in range(count):
                    if self.place[self.place_offset.back() + x * count + y] >= 0:
                        self.allowed.push_back(x)
                        break
            self.allowed_offset.push_back(self.allowed.size())
            self.place_offset.push_back(self.place.size())
        return 0

    cdef inline int64_t _length(self, int64_t allele) noexcept nogil:
        return self.base_offset[allele + 1] - self.base_offset[allele]

    cdef int64_t _common_end(self, int64_t one, int64_t other) noexcept nogil:
        """How many bases two alleles share at their ends."""
        cdef int64_t n = 0, i = self.base_offset[one + 1], j = self.base_offset[other + 1]
        cdef int64_t most = min(self._length(one), self._length(other))
        while n < most and self.bases[i - 1 - n] == self.bases[j - 1 - n]:
            n += 1
        return n

    cdef bint _choose(
        self, int32_t one, int32_t other, vector[int32_t] &choice, int64_t *cost
    ) noexcept nogil:
        """Options whose genotypes are those of two haplotypes; whether there are such."""
        cdef int64_t i, count
        cdef int32_t place
        cdef const int32_t *x = self.haplotypes.data() + one * self.n
        cdef const int32_t *y = self.haplotypes.data() + other * self.n
        cost[0] = 0
        for i in range(self.n):
            count = self.allele_offset[self.first + i + 1] - self.allele_offset[self.first + i]
            place = self.place[self.place_offset[i] + x[i] * count + y[i]]
            if place < 0:
                return False
            choice[i] = place
            cost[0] += self.costs[self.option_offset[self.first + i] + place]
        return True

    cdef void _assign(self, vector[int32_t] &choice) noexcept nogil:
        """Write the genotypes of the options chosen."""
        cdef int64_t i, option
        for i in range(self.n):
            option = self.option_offset[self.first + i] + choice[i]
            self.genotypes[self.first + i, 0] = self.options[option, 0]
            self.genotypes[self.first + i, 1] = self.options[option, 1]


cdef class Matcher:
    """Matches groups of variants.

    Parameters
    ----------
    reference_takes_base : bool
        A REF allele takes its first base for itself: of two variants at one
        start only the first can then have an ALT.
    cheapest : bool
        Of the second side's choices for one pair of haplotypes the cheapest
        counts; if not, the last in the order of options, whatever its price.
    max_haplotypes, max_steps : int
        A group of more sequences on one side, or whose search takes more steps
        (about: bases written, pairs looked at), is given up.
    """

    cdef:
        bint reference_takes_base, cheapest
        int64_t max_haplotypes, max_steps, steps
        const uint8_t *reference
        int64_t reference_start, window_end
        string spelled
        vector[int32_t] alleles
        # the second side's sequences, sorted; the distinct ones; and who makes each
        vector[Text] texts
        vector[int64_t] text_offset
        vector[vector[int32_t]] makers

    def __cinit__(
        self, *, bint reference_takes_base, bint cheapest, int64_t max_haplotypes,
        int64_t max_steps,
    ):
        self.reference_takes_base, self.cheapest = reference_takes_base, cheapest
        self.max_haplotypes, self.max_steps = max_haplotypes, max_steps

    def match(
        self, first, second, const int64_t[::1] first_offset, const int64_t[::1] second_offset,
        const int64_t[::1] window_start, const int64_t[::1] window_end,
        const uint8_t[::1] reference, int64_t reference_start,
    ):
        """Choose genotypes for all variants of all groups.

        Parameters
        ----------
        first, second : VariantTable
        first_offset, second_offset : int64 [g + 1]
            Group `k` has the variants ``first_offset[k]`` to
            ``first_offset[k + 1]`` (exclusive) of one side, and so the other.
        window_start, window_end : int64 [g]
            Reference under each group, around all of its variants.
        reference : uint8
            Bases from `reference_start` on, under all windows.

        Returns
        -------
        int32 [n, 2], int32 [m, 2], uint8 [g]
            Genotypes of both sides, 0/0 in a group of one side only or without
            a match; and whether a group was not given up.
        """
        cdef Side one = Side(first)
        cdef Side other = Side(second)
        cdef int64_t k
        cdef uint8_t[::1] found = np.zeros(len(window_start), np.uint8)
        if len(window_start):
            self.reference, self.reference_start = &reference[0], reference_start
        with nogil:
            for k in range(found.shape[0]):
                one._begin(first_offset[k], first_offset[k + 1])
                other._begin(second_offset[k], second_offset[k + 1])
                self.window_end = window_end[k]
                found[k] = self._match_group(one, other, window_start[k])
        return np.asarray(one.genotypes), np.asarray(other.genotypes), np.asarray(found)

    cdef int _match_group(self, Side one, Side other, int64_t window_start) except -1 nogil:
        """Match one group; the genotypes are written to both sides. 0 if it is given up."""
        cdef int64_t i
        if one.n == 0 or other.n == 0:
            return 1
        self.steps = 0
        self.texts.clear()
        self.spelled.clear()
        self.alleles.resize(max(one.n, other.n))
        if not self._spell(other, 0, window_start, -1, -1):
            return 0
        sort(self.texts.begin(), self.texts.end())
        self.text_offset.clear()
        for i in range(<int64_t>self.texts.size()):
            if i == 0 or self.texts[i].first != self.texts[i - 1].first:
                self.text_offset.push_back(i)
        self.makers.assign(self.text_offset.size(), vector[int32_t]())
        self.text_offset.push_back(self.texts.size())
        self.spelled.clear()
        if not self._spell(one, 0, window_start, 0, self.makers.size()):
            return 0
        return self._pair(one, other)

    cdef int _spell(
        self, Side side, int64_t i, int64_t position, int64_t low, int64_t high
    ) except -1 nogil:
        """Spell all haplotypes from variant `i` and `position` on; 0 if they are too many.

        With `low` and `high` those only that begin like a distinct text of
        this range; without (-1), all, which become the texts.
        """
        cdef size_t length = self.spelled.size()
        cdef int64_t a, allele, start, next_low, next_high, resume
        cdef int32_t index
        self.steps += 1
        if self.steps > self.max_steps:
            return 0
        if i == side.n:
            self._append(self.reference + position - self.reference_start, self.window_end - position)
            index = self._keep(side, low, high, length)
            self.spelled.resize(length)
            return index
        start = side.start[side.first + i]
        for a in range(side.allowed_offset[i], side.allowed_offset[i + 1]):
            index = side.allowed[a]
            if start < position and index > 0:
                continue
            self.alleles[i] = index
            next_low, next_high, resume = low, high, position
            if start >= position and (index > 0 or self.reference_takes_base):
                self._append(self.reference + position - self.reference_start, start - position)
                allele = side.allele_offset[side.first + i] + index
                if index > 0:
                    self._append(
                        &side.bases[0] + side.base_offset[allele],
                        side.kept[allele - side.first_allele],
                    )
                    resume = side.resume[allele - side.first_allele]
                else:
                    self._append(&side.bases[0] + side.base_offset[allele], 1)
                    resume = start + 1
                if low >= 0:
                    self._narrow(length, &next_low, &next_high)
            if (low < 0 or next_low < next_high) and not self._spell(
                side, i + 1, resume, next_low, next_high
            ):
                return 0
            self.spelled.resize(length)
        return 1

    cdef int _append(self, const uint8_t *bases, int64_t n) except -1 nogil:
        if n > 0:
            self.spelled.append(<const char *>bases, <size_t>n)
        return 0

    cdef void _narrow(self, size_t begin, int64_t *low, int64_t *high) noexcept nogil:
        """Keep the texts of the range that go on like what is spelled from `begin` on."""
        cdef size_t at
        cdef char base
        for at in range(begin, self.spelled.size()):
            base = self.spelled[at]
            while low[0] < high[0] and (
                self._text(low[0]).size() <= at or self._text(low[0])[0][at] < base
            ):
                low[0] += 1
            while low[0] < high[0] and self._text(high[0] - 1)[0][at] > base:
                high[0] -= 1

    cdef inline const string *_text(self, int64_t distinct) noexcept nogil:
        return &self.texts[self.text_offset[distinct]].first

    cdef int _keep(self, Side side, int64_t low, int64_t high, size_t begin) except -1 nogil:
        """Keep the haplotype spelled, if it is wanted; 0 if there are too many."""
        cdef int64_t i
        cdef int32_t index = side.haplotypes.size() // side.n
        if low >= 0:
            self._narrow(begin, &low, &high)
            if low >= high or self._text(low).size() != self.spelled.size():
                return 1
            self.makers[low].push_back(index)
        else:
            self.texts.push_back(Text(self.spelled, index))
            self.steps += self.spelled.size()
        for i in range(side.n):
            side.haplotypes.push_back(self.alleles[i])
        return index < self.max_haplotypes

    cdef int _pair(self, Side one, Side other) except -1 nogil:
        """Find the best two of the sequences that both sides make.

        Equal prices: the pair that the first side's choices reach first, these
        in order of variants and options; then that whose one haplotype has the
        smaller alleles.
        """
        cdef int64_t s, t, cost, other_cost, best_cost = 0
        cdef bint found = False
        cdef vector[int32_t] choice, reached, alleles, other_choice
        cdef vector[int32_t] best_choice, best_reached, best_alleles, best_other
        for s in range(<int64_t>self.makers.size()):
            for t in range(s, <int64_t>self.makers.size()):
                if self.makers[s].empty() or self.makers[t].empty():
                    continue
                self.steps += <int64_t>(self.makers[s].size() * self.makers[t].size())
                self.steps += self._number(s) * self._number(t)
                if self.steps > self.max_steps:
                    return 0
                if not self._other_choice(other, s, t, other_choice, &other_cost):
                    continue
                if not self._first_choice(one, s, t, choice, reached, alleles, &cost):
                    continue
                cost += other_cost
                if not found or cost < best_cost or cost == best_cost and (
                    reached < best_reached
                    or reached == best_reached and alleles < best_alleles
                ):
                    found, best_cost, best_other = True, cost, other_choice
                    best_choice, best_reached, best_alleles = choice, reached, alleles
        if found:
            one._assign(best_choice)
            other._assign(best_other)
        return found

    cdef inline int64_t _number(self, int64_t distinct) noexcept nogil:
        return self.text_offset[distinct + 1] - self.text_offset[distinct]

    cdef bint _other_choice(
        self, Side other, int64_t s, int64_t t, vector[int32_t] &best, int64_t *best_cost
    ) except -1 nogil:
        """The second side's choice for two of its sequences; whether there is one."""
        cdef int64_t i, j, cost
        cdef bint found = False
        cdef vector[int32_t] choice
        choice.resize(other.n)
        for i in range(self.text_offset[s], self.text_offset[s + 1]):
            for j in range(i if s == t else self.text_offset[t], self.text_offset[t + 1]):
                if not other._choose(
                    self.texts[i].second, self.texts[j].second, choice, &cost
                ):
                    continue
                if found and self.cheapest and cost > best_cost[0]:
                    continue
                if not found or best < choice or self.cheapest and cost < best_cost[0]:
                    found, best_cost[0] = True, cost
                    best = choice
        return found

    cdef bint _first_choice(
        self, Side one, int64_t s, int64_t t, vector[int32_t] &best, vector[int32_t] &reached,
        vector[int32_t] &alleles, int64_t *best_cost,
    ) except -1 nogil:
        """The first side's cheapest choice; the first of all choices, and its smaller haplotype."""
        cdef size_t i, j
        cdef int64_t cost
        cdef bint found = False
        cdef vector[int32_t] choice, smaller, other
        choice.resize(one.n)
        for i in range(self.makers[s].size()):
            for j in range(i if s == t else 0, self.makers[t].size()):
                if not one._choose(self.makers[s][i], self.makers[t][j], choice, &cost):
                    continue
                self._alleles_of(one, self.makers[s][i], smaller)
                self._alleles_of(one, self.makers[t][j], other)
                if other < smaller:
                    smaller = other
                if not found or cost < best_cost[0] or cost == best_cost[0] and choice < best:
                    best_cost[0] = cost
                    best = choice
                if not found or choice < reached or choice == reached and smaller < alleles:
                    reached, alleles = choice, smaller
                found = True
        return found

    cdef int _alleles_of(
        self, Side side, int32_t haplotype, vector[int32_t] &alleles
    ) except -1 nogil:
        cdef const int32_t *begin = side.haplotypes.data() + haplotype * side.n
        alleles.assign(begin, begin + side.n)
        return 0
