"""Haplotypes of a window by local assembly: a de Bruijn graph of its reads.

The graph, its pruning and its paths are those of DeepVariant 1.9's
DeBruijnGraph: the k-mers of the window's reference and of the reads' good
bases, an edge for each pair of successive ones; the smallest k whose graph has
no cycle; edges that enough reads share; the paths from the first k-mer of the
reference to its last.

Nearly all bases equal the reference, so k-mers of the reference around the
window are numbered by their place, and a read adds a whole stretch of equal
bases at the cost of two numbers. Other k-mers are found by the edge that leads
to them, new ones by a hash of constant cost for any k (a difference of
polynomial prefix hashes), and compared base by base.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp
from libcpp.vector cimport vector

from pileupcnn.kernels.vectors cimport fill
from pileupcnn.kernels.walk cimport is_base

cdef enum:
    OTHER = 4

cdef uint64_t MULTIPLIER = 0x9E3779B97F4A7C15
cdef const char *LETTERS = b"ACGT"


cdef inline int code_of(uint8_t base) noexcept nogil:
    if base == 65:
        return 0
    if base == 67:
        return 1
    if base == 71:
        return 2
    return 3 if base == 84 else OTHER


cdef class Assembler:
    """Assembles windows, for other kernels: `_start`, `_add_read` for each, `_assemble`.

    Parameters
    ----------
    min_k, max_k, step_k : int
    min_mapping_quality, min_base_quality : int
        Reads below do not count; bases below part a read.
    min_edge_weight : int
        Times that a pair of k-mers must occur where the reference has it not.
    max_paths : int
        With more haplotypes a window is given up.
    """

    def __cinit__(
        self, int min_k, int max_k, int step_k, int min_mapping_quality, int min_base_quality,
        int min_edge_weight, int max_paths,
    ):
        cdef int i
        self.min_k, self.max_k, self.step_k = min_k, max_k, step_k
        self.min_mapping_quality, self.min_quality = min_mapping_quality, min_base_quality
        self.min_weight, self.max_paths = min_edge_weight, max_paths
        self.powers.push_back(1)
        for i in range(max_k):
            self.powers.push_back(self.powers[i] * MULTIPLIER)
        self.build = 0

    cdef int _start(
        self, const uint8_t *reference, int32_t length, int32_t window_begin, int32_t window_end
    ) except -1 nogil:
        """Begin a window: `reference[window_begin:window_end]`, with bases around it."""
        self.text.assign(reference, reference + length)
        self.length, self.window_begin, self.window_end = length, window_begin, window_end
        self.stretches.clear()
        self.runs.clear()
        self.plain.clear()

    cdef int _add_read(
        self, const uint8_t *bases, const uint8_t *qualities, int32_t length, int64_t start,
        const uint32_t *cigar, int64_t operations, uint8_t mapping_quality,
    ) except -1 nogil:
        """Add one read, which begins `start` bases after the reference around the window.

        The alignment decides nothing: it only tells where bases may be equal.
        """
        cdef int32_t at = 0, run = -1, begin = -1, last
        cdef int64_t shift = start, i
        cdef uint32_t op, n
        cdef size_t first = self.stretches.size()
        cdef bint equal
        cdef Stretch stretch
        if mapping_quality < self.min_mapping_quality:
            return 0
        # run, begin: where the run and its stretch under way began, -1 for none
        for i in range(operations + 1):
            if i == operations:
                op, n = 1, length - at
            else:
                op, n = cigar[i] & 15, cigar[i] >> 4
            if op == 2 or op == 3:  # D N
                shift += n
            if not (op == 0 or op == 1 or op == 4 or op == 7 or op == 8):  # M I S = X
                continue
            last = at + <int32_t>n
            while at < last:
                if not is_base(bases[at]) or qualities[at] < self.min_quality:
                    if begin >= 0:
                        stretch.begin, stretch.end, stretch.shift = begin, at, <int32_t>shift
                        self.stretches.push_back(stretch)
                        begin = -1
                    if run >= 0:
                        self._end_run(bases, run, at, first)
                        first = self.stretches.size()
                        run = -1
                else:
                    if run < 0:
                        run = at
                    equal = (
                        op != 1 and op != 4 and 0 <= at + shift < self.length
                        and bases[at] == self.text[at + shift]
                    )
                    if equal and begin < 0:
                        begin = at
                    elif not equal and begin >= 0:
                        stretch.begin, stretch.end, stretch.shift = begin, at, <int32_t>shift
                        self.stretches.push_back(stretch)
                        begin = -1
                at += 1
            # the next operation changes the shift
            if begin >= 0:
                stretch.begin, stretch.end, stretch.shift = begin, at, <int32_t>shift
                self.stretches.push_back(stretch)
                begin = -1
            if op == 1 or op == 4:
                shift -= n
        if run >= 0:
            self._end_run(bases, run, length, first)

    cdef int _end_run(
        self, const uint8_t *bases, int32_t begin, int32_t end, size_t first
    ) except -1 nogil:
        """Keep the run bases[begin:end] of a read, and its stretches, those from `first` on."""
        cdef size_t i
        cdef int32_t moved
        cdef Plain plain
        cdef Run run
        cdef Stretch *stretch
        if end - begin <= self.min_k:
            self.stretches.resize(first)
            return 0
        if self.stretches.size() == first + 1:
            stretch = &self.stretches[first]
            if stretch.begin == begin and stretch.end == end:
                plain.begin, plain.end = begin + stretch.shift, end + stretch.shift
                self.plain.push_back(plain)
                self.stretches.resize(first)
                return 0
        run.begin = <int32_t>self.text.size()
        run.end = run.begin + end - begin
        run.first, run.last = <int32_t>first, <int32_t>self.stretches.size()
        moved = run.begin - begin
        for i in range(first, self.stretches.size()):
            stretch = &self.stretches[i]
            stretch.begin += moved
            stretch.end += moved
            stretch.shift -= moved
        self.text.insert(self.text.end(), bases + begin, bases + end)
        self.runs.push_back(run)

    cdef int _assemble(self) except -1 nogil:
        """Find `chosen_k` and the `haplotypes` of the window."""
        cdef int32_t largest = min(self.max_k, self.window_end - self.window_begin - 1), k
        cdef size_t i, slots = 64
        self.chosen_k = 0
        self.haplotypes.clear()
        # the prefix hashes of the whole text; node and table sizes that no k exceeds
        self.prefix_hash.resize(self.text.size() + 1)
        self.prefix_hash[0] = 0
        for i in range(self.text.size()):
            self.prefix_hash[i + 1] = self.prefix_hash[i] * MULTIPLIER + self.text[i]
        while slots < 2 * self.text.size():
            slots *= 2
        # no more of the table than this window needs: the cache is small
        self.mask = slots - 1
        if self.table.size() < slots:
            fill(self.table, slots, Slot(0, 0, 0))
            self.build = 0
        if self.nodes.size() < self.text.size():
            self.nodes.resize(self.text.size())
        k = self._smallest_k(largest)
        while 0 < k <= largest:
            self._set_k(k)
            self._build()
            if self._sort():
                self.chosen_k = k
                return self._enumerate()
            k += self.step_k
        return NO_GRAPH

    cdef int32_t _smallest_k(self, int32_t largest) noexcept nogil:
        """The smallest k of which the window's reference has no k-mer twice; 0 if none.

        Where two are equal, k must exceed the length of what is equal from there on.
        """
        cdef int32_t k = self.min_k, needed, p, q, n
        while k <= largest:
            self._set_k(k)
            needed = k
            for p in range(self.window_begin, self.window_end - k + 1):
                q = self.nodes[self._intern(p)].at
                if q == p:
                    continue
                n = k
                while p + n < self.window_end and self.text[q + n] == self.text[p + n]:
                    n += 1
                if n >= needed:
                    needed = n + 1
                    if needed > largest:
                        return 0
            if needed == k:
                return k
            while k < needed:
                k += self.step_k
        return 0

    cdef void _set_k(self, int32_t k) noexcept nogil:
        """Begin an empty graph."""
        self.k = k
        self.power = self.powers[k]
        self.node_count = 0
        self.build += 1

    cdef int32_t _intern(self, int32_t at) noexcept nogil:
        """The node of the k-mer at `at`, a new one if need be."""
        cdef uint64_t hash = (
            self.prefix_hash[at + self.k] - self.prefix_hash[at] * self.power
        )
        cdef size_t i = ((hash ^ hash >> 29) * MULTIPLIER >> 32) & self.mask
        cdef int j
        cdef Slot *slot
        cdef Node *node
        while True:
            slot = &self.table[i]
            if slot.build != self.build:
                break
            if slot.hash == hash and memcmp(
                &self.text[self.nodes[slot.node].at], &self.text[at], self.k
            ) == 0:
                return slot.node
            i = (i + 1) & self.mask
        slot.hash, slot.build, slot.node = hash, self.build, self.node_count
        node = &self.nodes[self.node_count]
        node.at = at
        for j in range(5):
            node.weight[j] = 0
            node.target[j] = -1
        self.node_count += 1
        return slot.node

    cdef int _build(self) except -1 nogil:
        """The graph of the reference and the reads for the k set."""
        cdef int32_t n = self.length - self.k + 1, p, c, bonus = max(1, self.min_weight), now = 0
        cdef size_t i
        cdef Node *node
        self.ids.resize(n)
        for p in range(n):
            self.ids[p] = self._intern(p)
        # known successors cost no hash; what is no base does not occur in runs
        for p in range(n - 1):
            c = code_of(self.text[p + self.k])
            if c != OTHER:
                self.nodes[self.ids[p]].target[c] = self.ids[p + 1]
        # step: by how much more, or fewer, reads pass from p to p + 1 than to p
        fill(self.step, n + 1, 0)
        for i in range(self.plain.size()):
            if self.plain[i].end - self.plain[i].begin > self.k:
                self.step[self.plain[i].begin] += 1
                self.step[self.plain[i].end - self.k] -= 1
        for i in range(self.runs.size()):
            if self.runs[i].end - self.runs[i].begin > self.k:
                self._thread(self.runs[i])
        for p in range(n - 1):
            now += self.step[p]
            if now:
                self.nodes[self.ids[p]].weight[code_of(self.text[p + self.k])] += now
        # the reference's own edges are never pruned, whatever the reads say
        for p in range(self.window_begin, self.window_end - self.k):
            node = &self.nodes[self.ids[p]]
            c = code_of(self.text[p + self.k])
            node.weight[c] += bonus
            if c == OTHER:
                # one at most: no k-mer of the window occurs in it twice
                node.target[c], node.other = self.ids[p + 1], self.text[p + self.k]

    cdef void _thread(self, Run &run) noexcept nogil:
        """Add the edges of one run: whole stretches by number, the rest one by one."""
        cdef int32_t at = run.begin, last = run.end - self.k, i = run.first, c, to, node = -1
        cdef Stretch *stretch
        while at <= last:
            while i < run.last and self.stretches[i].end < at + self.k:
                i += 1
            stretch = &self.stretches[i]
            if i < run.last and stretch.begin <= at:
                if node >= 0:
                    c = code_of(self.text[at + self.k - 1])
                    self.nodes[node].weight[c] += 1
                    self.nodes[node].target[c] = self.ids[at + stretch.shift]
                self.step[at + stretch.shift] += 1
                at = stretch.end - self.k
                self.step[at + stretch.shift] -= 1
                node = self.ids[at + stretch.shift]
            elif node < 0:
                node = self._intern(at)
            else:
                c = code_of(self.text[at + self.k - 1])
                to = self.nodes[node].target[c]
                if to < 0:
                    to = self._intern(at)
                    self.nodes[node].target[c] = to
                self.nodes[node].weight[c] += 1
                node = to
            at += 1

    cdef bint _sort(self) except -1 nogil:
        """Bring the nodes into topological order (Kahn's algorithm); False if there is a cycle."""
        cdef int32_t i, c, to
        cdef Node *node
        fill(self.degree, self.node_count, 0)
        for i in range(self.node_count):
            node = &self.nodes[i]
            for c in range(5):
                if node.weight[c]:
                    self.degree[node.target[c]] += 1
        self.order.clear()
        for i in range(self.node_count):
            if self.degree[i] == 0:
                self.order.push_back(i)
        i = 0
        while i < <int32_t>self.order.size():
            node = &self.nodes[self.order[i]]
            for c in range(5):
                if node.weight[c]:
                    to = node.target[c]
                    self.degree[to] -= 1
                    if self.degree[to] == 0:
                        self.order.push_back(to)
            i += 1
        return <int32_t>self.order.size() == self.node_count

    cdef int _enumerate(self) except -1 nogil:
        """Count the paths from source to sink over the edges that are kept, and write them.

        Successors are taken in the order of their bases, so haplotypes come sorted.
        """
        cdef int32_t source = self.ids[self.window_begin], n, node, i, c
        cdef int32_t sink = self.ids[self.window_end - self.k]
        cdef int64_t total
        cdef int codes[5]
        cdef vector[uint8_t] path
        cdef vector[int32_t] waiting
        cdef vector[size_t] lengths
        fill(self.paths, self.node_count, 0)
        self.paths[sink] = 1
        for i in range(self.node_count - 1, -1, -1):
            node = self.order[i]
            if node == sink:
                continue
            total = 0
            for c in range(5):
                if self.nodes[node].weight[c] >= self._kept():
                    total += self.paths[self.nodes[node].target[c]]
            self.paths[node] = <int32_t>min(total, <int64_t>self.max_paths + 1)
        if self.paths[source] > self.max_paths:
            return TOO_MANY
        if self.paths[source] == 1:
            return REFERENCE_ONLY
        # depth first; `waiting` nodes with what the path's length is before their last base
        path.assign(
            &self.text[self.nodes[source].at], &self.text[self.nodes[source].at] + self.k
        )
        node = source
        while True:
            if node == sink:
                self.haplotypes.push_back(path)
                if waiting.empty():
                    return ASSEMBLED
                node = waiting.back()
                path.resize(lengths.back())
                path.push_back(self.text[self.nodes[node].at + self.k - 1])
                waiting.pop_back()
                lengths.pop_back()
                continue
            n = self._successors(node, codes)
            for i in range(n - 1, 0, -1):
                waiting.push_back(self.nodes[node].target[codes[i]])
                lengths.push_back(path.size())
            node = self.nodes[node].target[codes[0]]
            path.push_back(self.text[self.nodes[node].at + self.k - 1])

    cdef int _successors(self, int32_t node, int *codes) noexcept nogil:
        """The edges from `node` that lead to the sink, ascending by base; how many."""
        cdef int n = 0, c, i
        cdef uint8_t base
        for c in range(5):
            if (
                self.nodes[node].weight[c] < self._kept()
                or self.paths[self.nodes[node].target[c]] == 0
            ):
                continue
            i = n
            n += 1
            if c == OTHER:
                base = self.nodes[node].other
                while i > 0 and LETTERS[codes[i - 1]] > base:
                    codes[i] = codes[i - 1]
                    i -= 1
            codes[i] = c
        return n

    cdef int32_t _kept(self) noexcept nogil:
        return max(1, self.min_weight)


def assemble(
    Assembler assembler, const uint8_t[::1] reference, int window_begin, int window_end,
    const uint8_t[::1] bases, const uint8_t[::1] qualities, const int64_t[::1] offset,
    const int64_t[::1] start, const uint8_t[::1] mapping_quality,
):
    """Assemble ungapped reads, for tests: the k chosen, 0 without a graph, and the haplotypes.

    Read `i` has the bases from `offset[i]` on, and begins at `start[i]` of `reference`.
    """
    cdef int64_t i
    cdef uint32_t cigar
    cdef int state
    assembler._start(&reference[0], <int32_t>reference.shape[0], window_begin, window_end)
    for i in range(start.shape[0]):
        cigar = <uint32_t>(offset[i + 1] - offset[i]) << 4
        assembler._add_read(
            &bases[offset[i]], &qualities[offset[i]], <int32_t>(offset[i + 1] - offset[i]),
            start[i], &cigar, 1, mapping_quality[i],
        )
    state = assembler._assemble()
    return state, assembler.chosen_k, [bytes(h) for h in assembler.haplotypes]
