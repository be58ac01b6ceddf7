"""The messages in TFRecords, their generated classes, and the way to and from our dataclasses.

`convert` is all that other modules need; ``*_pb2`` are generated from the
``.proto`` files beside them (how, is said in ``variants.proto``).
"""
