"""The work of ``call`` as three stages with files between them.

Each is made of what the stream is made of; only reading and writing the files
is their own: `make_examples`, `call_variants`, `postprocess_variants`.
"""
