/dev/fd/3: line 314: m0: command not found
/dev/fd/3: line 314: m1: command not found
