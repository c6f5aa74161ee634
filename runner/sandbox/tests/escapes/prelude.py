import ctypes, fcntl, os, resource, signal, socket, struct, sys, time
W, O = os.environ["W"], os.environ["O"]
V, S, P, Q = (int(os.environ[name]) for name in "VSPQ")
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    answer = libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if answer < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
def got(): print("ESCAPED", flush=True)
