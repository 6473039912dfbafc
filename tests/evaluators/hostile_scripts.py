"""Scripts that try to harm the machine, to get out, or to outlive their run; with the verdict each must get.

A script that can tell by itself whether it was held prints `held`; anything else is a breach.
"""

# ruff: noqa: E501  (one program a line)
from __future__ import annotations

from dataclasses import dataclass, replace
from textwrap import dedent

from evaluators.sandbox import Limits, VerdictKind

SHORT = Limits(cpu_s=1, wall_s=1.5, memory_mb=256, processes=16, file_mb=16, open_files=64, output_kb=256)
# Time enough on a busy machine, where another limit must be the one that ends the program.
ROOMY = replace(SHORT, cpu_s=10, wall_s=60)
K = VerdictKind


@dataclass(frozen=True)
class Hostile:
    name: str
    source: str
    kinds: tuple[VerdictKind, ...] = (K.PASSED,)
    says: str = ""  # must be in the detail or in the standard error
    expected: str | None = "held"
    limits: Limits = SHORT


def _denied(name: str, *lines: str, errors: str = "OSError") -> Hostile:
    """`lines` must raise one of `errors`; without an error the program says that it got through."""
    body = "\n".join(f"    {line}" for line in "\n".join(lines).splitlines())
    return Hostile(
        name,
        f"import os, socket, ctypes\ntry:\n{body}\nexcept ({errors},) as error:\n    print('held')\nelse:\n    print('got through')\n",
    )


def _syscall(name: str, number: int, *values: int) -> Hostile:
    """A raw system call that must be refused (x86-64 numbers)."""
    text = f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        result = libc.syscall({number}, {", ".join(map(str, values)) or 0})
        print('held' if result == -1 and ctypes.get_errno() in (1, 13, 38, 97) else (result, ctypes.get_errno()))
    """
    return Hostile(name, dedent(text))


def _h(
    name: str,
    text: str,
    *kinds: VerdictKind,
    says: str = "",
    expected: str | None = "held",
    limits: Limits = SHORT,
) -> Hostile:
    return Hostile(name, dedent(text), kinds or (K.PASSED,), says, expected, limits)


RESOURCES = [
    _h("fork bomb that catches", "import os\nwhile True:\n try: os.fork()\n except OSError: pass", K.TIME_LIMIT),
    _h("fork bomb that does not catch", "import os\nfor _ in range(10000): os.fork()", K.CRASHED, K.TIME_LIMIT),
    _h("fork bomb of shells", "import os\nos.system(':(){ :|:& };:')\nimport time; time.sleep(9)", K.TIME_LIMIT),
    _h("one huge array", "x = bytearray(10**11)", K.MEMORY_LIMIT, limits=ROOMY),
    _h("many small strings", "a = []\nwhile True: a.append(' ' * 10000 + str(len(a)))", K.MEMORY_LIMIT, limits=ROOMY),
    _h("dict that doubles", "d = {}\nwhile True: d.update({len(d) + i: str(i) * 50 for i in range(len(d) + 1)})", K.MEMORY_LIMIT, limits=ROOMY),
    _h(
        "memory in many processes",
        """
        import os, time
        for _ in range(8):
            if os.fork() == 0:
                x = bytearray(120 << 20)
                for i in range(0, len(x), 4096): x[i] = 1
                time.sleep(9)
        time.sleep(9)
        """,
        K.MEMORY_LIMIT,
        limits=ROOMY,
    ),
    _h("shared memory map", "import mmap\nx = mmap.mmap(-1, 10**10)", K.MEMORY_LIMIT, limits=ROOMY),
    _h("memory through memfd", "import os\nfd = os.memfd_create('x')", K.CRASHED, says="Operation not permitted", limits=ROOMY),
    _h("a huge file", "f = open('x', 'wb')\nwhile True: f.write(b'x' * 65536)", K.CRASHED, says="File too large", limits=ROOMY),
    _h("a sparse file", "f = open('x', 'wb')\nf.truncate(1 << 40)", K.CRASHED, says="File too large", limits=ROOMY),
    _h("many files", "i = 0\nwhile True:\n open(f'f{i}', 'wb').write(b'x' * 1000000)\n i += 1", K.CRASHED, says="No space left", limits=ROOMY),
    _h("many empty files", "i = 0\nwhile True:\n open(f'f{i}', 'wb').close()\n i += 1", K.CRASHED, K.TIME_LIMIT),
    _h("filling /dev/shm", "i = 0\nwhile True:\n open(f'/dev/shm/f{i}', 'wb').write(b'x' * 1000000)\n i += 1", K.CRASHED, says="No space left", limits=ROOMY),
    _h("output without end", "while True: print('x' * 1000)", K.OUTPUT_LIMIT, limits=ROOMY),
    _h("errors without end", "import sys\nwhile True: sys.stderr.write('x' * 1000)", K.OUTPUT_LIMIT, limits=ROOMY),
    _h("one endless line", "import os\nwhile True: os.write(1, b'x' * 65536)", K.OUTPUT_LIMIT, limits=ROOMY),
    _h("output by many children", "import os\nfor _ in range(3): os.fork()\nwhile True: os.write(1, b'x' * 65536)", K.OUTPUT_LIMIT, limits=ROOMY),
    _h("sleeping", "import time\ntime.sleep(1000)", K.TIME_LIMIT),
    _h("busy", "while True: pass", K.TIME_LIMIT),
    _h("ignoring every signal", "import signal\nfor s in range(1, 65):\n try: signal.signal(s, signal.SIG_IGN)\n except (OSError, ValueError): pass\nwhile True: pass", K.TIME_LIMIT),
    _h("blocking every signal", "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(1000)", K.TIME_LIMIT),
    _h("busy in many processes", "import os\nfor _ in range(3): os.fork()\nwhile True: pass", K.TIME_LIMIT),
    _h("stopping itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", K.WRONG_OUTPUT),
    _h("stopping its child", "import os, signal\np = os.fork()\nif not p: os.kill(os.getpid(), signal.SIGSTOP)\nos.waitpid(p, 0)", K.TIME_LIMIT),
    _h("killing its child", "import os\np = os.fork()\nif not p: os.kill(os.getpid(), 9)\nprint('held' if os.waitpid(p, 0)[1] == 9 else 'not killed')"),
    _h("waiting for input that ends", "import sys\nsys.stdin.read()\nprint('held')"),
    _h("too many threads", "import threading, time\nfor _ in range(1000): threading.Thread(target=time.sleep, args=(9,)).start()", K.CRASHED, K.TIME_LIMIT, K.MEMORY_LIMIT, limits=ROOMY),
    _h("a thread that outlives main", "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nprint('held')", K.TIME_LIMIT),
    _h("a daemon thread that outlives main", "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\nprint('held')"),
    _h(
        "a daemon process that outlives main",
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True: time.sleep(0.01)
            os._exit(0)
        os.wait()
        print('held')
        """,
    ),
    _h("a daemon that holds the output open", "import subprocess\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\nprint('held')"),
    _h("an exit function that sleeps", "import atexit, time\natexit.register(time.sleep, 1000)\nprint('held')", K.TIME_LIMIT),
    _h("too many open files", "import os\nfds = [os.open('/dev/null', os.O_RDONLY) for _ in range(100000)]", K.CRASHED, says="Too many open files", limits=ROOMY),
    _h("too many pipes", "import os\nfds = [os.pipe() for _ in range(100000)]", K.CRASHED, says="Too many open files", limits=ROOMY),
    _h("deep recursion", "def f(n): return f(n + 1)\nf(0)", K.CRASHED, says="RecursionError", limits=ROOMY),
    _h("recursion without a limit", "import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1)\nf(0)", K.CRASHED, K.MEMORY_LIMIT, K.TIME_LIMIT),
    _h("recursion in C", "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)", K.CRASHED, K.MEMORY_LIMIT, K.TIME_LIMIT),
    _h("a gigantic integer", "x = 10 ** 10 ** 10", K.TIME_LIMIT, K.MEMORY_LIMIT, limits=ROOMY),
    _h("printing a gigantic integer", "print(7 ** 10**5)", K.CRASHED, says="4300 digits", limits=ROOMY),
    _h("a regular expression without end", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", K.TIME_LIMIT),
    _h("a segmentation fault", "import ctypes\nctypes.string_at(0)", K.CRASHED, says="SIGSEGV", limits=ROOMY),
    _h("abort", "import os\nos.abort()", K.CRASHED, says="killed by", limits=ROOMY),
    _h("killing itself", "import os\nos.kill(os.getpid(), 9)", K.WRONG_OUTPUT),
    _h("killing everything", "import os\nos.kill(-1, 9)\nprint('held')", K.CRASHED, K.PASSED),
    _h("compiling a deep expression", "eval('(' * 100000 + ')' * 100000)", K.CRASHED, K.MEMORY_LIMIT, limits=ROOMY),
]  # fmt: skip

ESCAPES = [
    _denied("reading the shadow file", "open('/etc/shadow').read()"),
    _denied("writing to /usr", "open('/usr/bin/x', 'w')"),
    _denied("writing to /etc", "open('/etc/passwd', 'a')"),
    _denied("writing to the root", "os.mkdir('/x')"),
    _denied("writing to /dev", "open('/dev/x', 'w')"),
    _denied("writing to the harness", "open('/sandbox/inside/wire.py', 'a')"),
    _denied("writing beside the standard library", "open(os.__file__, 'a')"),
    _denied("writing byte code for the next program", "import sysconfig\nopen(sysconfig.get_path('purelib') + '/sitecustomize.py', 'w')"),
    _denied("making a device", "import stat\nos.mknod('/tmp/disk', 0o600 | stat.S_IFBLK, os.makedev(8, 0))"),
    _denied("reading the machine's memory", "open('/dev/mem', 'rb').read(1)"),
    _denied("the terminal", "open('/dev/tty', 'r+b')"),
    _denied("a kernel setting", "open('/proc/sys/kernel/core_pattern', 'w').write('|/tmp/x')"),
    _denied("user namespaces switched on again", "open('/proc/sys/user/max_user_namespaces', 'w').write('9')"),
    _denied("becoming root", "os.setuid(0)"),
    _denied("changing the root", "os.chroot('/tmp')"),
    _denied("raising the file limit", "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (10**6, 10**6))", errors="ValueError, OSError"),
    _denied("raising the memory limit", "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", errors="ValueError, OSError"),
    _denied("raising its priority", "os.nice(-10)"),
    _denied("real-time scheduling", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))"),
    _denied("the host name", "socket.sethostname('x')"),
    _denied("the clock", "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)"),
    _denied("lowering its chance to be ended", "open('/proc/self/oom_score_adj', 'wb', buffering=0).write(b'-1000')"),
    _denied("connecting outside", "socket.create_connection(('192.0.2.1', 80), 1)"),
    _denied("asking a name server", "socket.getaddrinfo('example.org', 80)"),
    _denied("sending a datagram", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))"),
    _denied("internet protocol 6", "socket.create_connection(('2001:db8::1', 80), 1)"),
    _denied("a raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    _denied("a packet socket", "socket.socket(17, socket.SOCK_RAW, 0)"),
    _denied("a socket to the hypervisor", "socket.socket(40, socket.SOCK_STREAM)"),
    _denied("a kernel crypto socket", "socket.socket(38, socket.SOCK_SEQPACKET)"),
    _denied("a Bluetooth socket", "socket.socket(31, socket.SOCK_RAW, 1)"),
    _denied("a controller area socket", "socket.socket(29, socket.SOCK_RAW, 1)"),
    _syscall("ptrace of the supervisor", 101, 16, 1, 0, 0),
    _syscall("reading another process", 310, 1, 0, 0, 0, 0, 0),
    _syscall("a new user namespace", 272, 0x10000000),
    _syscall("a new user namespace by clone", 56, 0x10000000 | 17, 0, 0, 0, 0),
    _syscall("clone3", 435, 0, 0),
    _syscall("mounting", 165, 0, 0, 0, 0, 0),
    _syscall("pivot_root", 155, 0, 0),
    _syscall("joining a namespace", 308, 0, 0),
    _syscall("the keyring", 250, 0, 0, 0),
    _syscall("adding a key", 248, 0, 0, 0, 0, 0),
    _syscall("kernel programs", 321, 0, 0, 0),
    _syscall("performance events", 298, 0, 0, 0, 0, 0),
    _syscall("io_uring", 425, 8, 0),
    _syscall("userfaultfd", 323, 0),
    _syscall("System V shared memory", 29, 0, 4096, 0o1600),
    _syscall("opening by handle", 304, 0, 0, 0),
    _syscall("loading a module", 313, 0, 0, 0),
    _syscall("the kernel log", 103, 3, 0, 0),
    _h("32-bit system calls", "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b814000000cd80c3'))\nctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\nprint('got through')", K.CRASHED),
    _h("killing the parent", "import os\nos.kill(os.getppid(), 9)\nimport time; time.sleep(0.1)\nprint('held')"),
    _denied("writing through a link", "os.symlink('/usr/lib', 'way')", "open('way/x', 'w')"),
    _denied("a hard link to what is outside", "os.link('/etc/passwd', 'mine')"),
    _denied("writing through /proc/self/root", "open('/proc/self/root/usr/x', 'w')"),
    _denied("writing into its own program file", "open('/proc/self/exe', 'r+b')"),
    _denied("the kernel's settings through /proc/self/root", "open('/proc/self/root/proc/sys/kernel/core_pattern', 'w')"),
    _h("links in the place of the folders", "import os\nos.chdir('/tmp')\nos.rename('/tmp/work', '/tmp/old')\nos.symlink('/usr', '/tmp/work')\nos.symlink('/sandbox/inside', '/dev/shm/x')\nprint('held')"),
    _h("seeing other processes", "import os\nprint('held' if len([p for p in os.listdir('/proc') if p.isdigit()]) == 1 else os.listdir('/proc'))"),
    _h("a setuid program", "import subprocess\nr = subprocess.run(['su', '-c', 'id'], capture_output=True, stdin=subprocess.DEVNULL)\nprint('held' if r.returncode and b'uid=0' not in r.stdout else r)"),
    _h("capabilities", "print('held' if all(int(l.split()[1], 16) == 0 for l in open('/proc/self/status') if l.startswith('Cap')) else 'got through')"),
    _h("capabilities after exec", "import subprocess\nprint('held' if b'0000000000000000' in subprocess.run(['grep', 'CapEff', '/proc/self/status'], capture_output=True).stdout else 'got through')"),
    _h("open descriptors", "import os\nn = [int(f) for f in os.listdir('/proc/self/fd')]\nprint('held' if max(n) <= 3 else [(f, os.readlink(f'/proc/self/fd/{f}')) for f in n if os.path.exists(f'/proc/self/fd/{f}')])"),
    _h("the environment of every process", "import os, glob\ntext = repr(dict(os.environ))\nfor p in glob.glob('/proc/[0-9]*/environ'):\n try: text += repr(open(p, 'rb').read())\n except OSError: pass\nprint('got through' if 'hf_secret' in text else 'held')"),
    _h("the harness's modules", "import sys\nprint('held' if not [m for m in sys.modules if 'inside' in m] else 'got through')"),
    _h("the input as a way in", "import os\ntry: os.write(0, b'x')\nexcept OSError: print('held')"),
]  # fmt: skip

# Under a supervisor of their own, which is the first process that they see.
SUPERVISED = [
    _denied("the supervisor's memory", "open('/proc/1/mem', 'rb').read(1)"),
    _denied("the supervisor's environment", "open('/proc/1/environ', 'rb').read()"),
    _denied("the supervisor's descriptors", "os.listdir('/proc/1/fd')"),
    _denied("the supervisor's root", "os.listdir('/proc/1/root/')"),
    _denied("the supervisor's memory map", "open('/proc/1/maps').read()"),
    _h("killing the supervisor", "import os, signal\nfor s in (9, 15, 2, 19): os.kill(1, s)\nimport time; time.sleep(0.1)\nprint('held')"),
    _syscall("ptrace of the supervisor", 101, 16, 1, 0, 0),
    _h("seeing other processes", "import os\nprint('held' if len([p for p in os.listdir('/proc') if p.isdigit()]) == 2 else os.listdir('/proc'))"),
]  # fmt: skip

OUTPUTS = [
    _h("no output", "pass", K.WRONG_OUTPUT),
    _h("status 0 at once", "import os\nos._exit(0)", K.WRONG_OUTPUT),
    _h("leaving by sys.exit", "import sys\nsys.exit(0)", K.WRONG_OUTPUT),
    _h("right output, bad status", "print('held')\nraise SystemExit(3)", K.CRASHED),
    _h("right output, then an error", "print('held', flush=True)\n1/0", K.CRASHED, says="ZeroDivisionError"),
    _h("bytes that are no text", "import os\nos.write(1, b'\\xff\\xfe\\x00held')", K.WRONG_OUTPUT),
    _h("NUL in the output", "print('he\\0ld')", K.WRONG_OUTPUT),
    _h("unicode in the output", "print('höld')", K.WRONG_OUTPUT),
    _h("unicode that is expected", "print('höld ✓')", expected="höld ✓"),
    _h("terminal codes", "print('\\x1b[2Jheld')", K.WRONG_OUTPUT),
    _h("NUL in the source", "print('held')\0", K.CRASHED),
    _h("half a surrogate in the source", "print('\ud800')", K.CRASHED),
    _h("no Python at all", "))) nothing (((", K.CRASHED, says="SyntaxError"),
    _h("closing the streams", "import os\nfor i in range(64):\n try: os.close(i)\n except OSError: pass", K.WRONG_OUTPUT, K.CRASHED),
    _h("looking for the expected output", "import gc\ntext = repr([o for o in gc.get_objects() if isinstance(o, (dict, list)) and 'expected' in repr(o)[:100000]])\nprint('h' + 'eld' if 'h' + 'eld' + '!' not in text else 'got through')", limits=Limits(cpu_s=5, wall_s=5)),
]  # fmt: skip
