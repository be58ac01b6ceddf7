# nothing here is for Python: the kernel alignment composes
