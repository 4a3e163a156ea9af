"""Attempts to get out of the sandbox, and to use more than it gives. Each is a function, chosen by its name.

An attempt that succeeds returns a text that begins with "reached"; one that is held raises, or is ended.
"""

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
REACHED = "reached"


def run(input, context):  # noqa: A002 - the names that a tool has
    return globals()[input["attack"]](input)


def syscall(x86, arm, *arguments):
    result = LIBC.syscall(x86 if X86 else arm, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"{REACHED}: {result}"


def read(path):
    with open(path, "rb") as file:
        return f"{REACHED}: {file.read(100)!r}"


def write(path):
    with open(path, "ab") as file:
        file.write(b"x")
    return REACHED


# Files.


def read_shadow(given):
    return read("/etc/shadow")


def read_passwd_upwards(given):
    return read("../" * 30 + "etc/passwd")


def read_database(given):
    return read(given["database"])


def write_database(given):
    return write(given["database"])


def truncate_database(given):
    os.truncate(given["database"], 0)
    return REACHED


def open_with_truncation(given):
    os.open(__file__, os.O_RDONLY | os.O_TRUNC)
    return REACHED


def delete_database(given):
    os.unlink(given["database"])
    return REACHED


def rename_database(given):
    os.rename(given["database"], "mine")
    return REACHED


def link_database(given):
    os.link(given["database"], "mine")
    return read("mine")


def symlink_to_database(given):
    os.symlink(given["database"], "mine")
    return read("mine")


def symlink_to_root(given):
    os.symlink("/", "root")
    return f"{REACHED}: {os.listdir('root/etc')}"


def list_root(given):
    if not os.listdir("/"):
        raise PermissionError
    return f"{REACHED}: {read_shadow(given)}"


def list_data(given):
    return f"{REACHED}: {os.listdir(os.path.dirname(given['database']))}"


def watch_data(given):
    return syscall(294, 26, 0)


def read_server(given):
    return read(given["server"])


def write_project(given):
    return write(__file__)


def write_pth(given):
    return write(os.path.join(os.path.dirname(os.__file__), "site-packages", "evil.pth"))


def write_beside_the_project(given):
    return write(os.path.join(os.path.dirname(__file__), "evil.pth"))


def write_tmp(given):
    return write("/tmp/evil")  # noqa: S108 - an attack


def read_other_calls(given):
    return f"{REACHED}: {os.listdir(os.path.dirname(os.getcwd()))}"


def plant_in_other_calls(given):
    return write(os.path.join(os.path.dirname(os.getcwd()), "evil"))


def shared_memory_file(given):
    return write("/dev/shm/evil")  # noqa: S108 - an attack


def open_disk(given):
    return read("/dev/vda")


def open_kernel_log(given):
    return read("/dev/kmsg")


def open_memory_device(given):
    return read("/dev/mem")


def make_device(given):
    os.mknod("device", 0o60666, os.makedev(8, 0))
    return REACHED


def make_socket_file(given):
    os.mknod("socket", 0o140666)
    return REACHED


def handle_of_file(given):
    return syscall(303, 264, -100, b"/etc/shadow", ctypes.create_string_buffer(200), ctypes.byref(ctypes.c_int()), 0)


def set_attribute(given):
    os.setxattr(given["database"], "user.evil", b"x")
    return REACHED


# Changes that are answered with success, and change nothing; the test looks at the files.


def change_mode_of_database(given):
    os.chmod(given["database"], 0)


def change_owner_of_database(given):
    os.chown(given["database"], 1, 1)


def change_time_of_database(given):
    os.utime(given["database"], (0, 0))


def change_mode_of_python(given):
    opened = os.open(os.__file__, os.O_RDONLY)
    os.fchmod(opened, 0)


# Other processes.


def environment_of_parent(given):
    return read(f"/proc/{os.getppid()}/environ")


def environment_of_victim(given):
    return read(f"/proc/{given['victim']}/environ")


def memory_of_victim(given):
    return read(f"/proc/{given['victim']}/mem")


def root_of_victim(given):
    return read(f"/proc/{given['victim']}/root/etc/passwd")


def files_of_victim(given):
    names = os.listdir(f"/proc/{given['victim']}/fd")
    return f"{REACHED}: {names}"


def trace_victim(given):
    return syscall(101, 117, 16, given["victim"], 0, 0)


def read_memory_of_victim(given):
    return syscall(310, 270, given["victim"], 0, 0, 0, 0, 0)


def kill_victim(given):
    os.kill(given["victim"], signal.SIGKILL)
    return REACHED


def kill_parent(given):
    os.kill(os.getppid(), signal.SIGKILL)
    return REACHED


def kill_group(given):
    os.killpg(0, signal.SIGKILL)
    return REACHED


def kill_all(given):
    os.kill(-1, signal.SIGKILL)
    return REACHED


def kill_thread_of_victim(given):
    return syscall(234, 131, given["victim"], given["victim"], 9)


def kill_task_of_victim(given):
    return syscall(200, 130, given["victim"], 9)


def queue_signal_for_victim(given):
    return syscall(129, 138, given["victim"], 9, ctypes.create_string_buffer(128))


def hold_victim(given):
    return syscall(434, 434, given["victim"], 0)


def have_victim_signalled(given):
    ours, other = socket.socketpair()
    fcntl.fcntl(ours, 8, given["victim"])  # F_SETOWN
    fcntl.fcntl(ours, 10, 9)  # F_SETSIG: SIGKILL
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC)
    other.send(b"x")
    return REACHED


def slow_victim_down(given):
    os.setpriority(os.PRIO_PROCESS, given["victim"], 19)
    return REACHED


def limit_victim(given):
    resource.prlimit(given["victim"], resource.RLIMIT_NOFILE, (0, 0))
    return REACHED


def pin_victim(given):
    os.sched_setaffinity(given["victim"], {0})
    return REACHED


def fork(given):
    if os.fork() == 0:
        os._exit(0)
    return REACHED


def spawn(given):
    return f"{REACHED}: {subprocess.run(['/bin/sh', '-c', 'id'], capture_output=True, check=False)}"


def execute_shell(given):
    os.execv("/bin/sh", ["sh"])  # noqa: S606 - an attack


def execute_memory(given):
    return syscall(319, 279, b"evil", 0)


def raw_clone(given):
    return syscall(56, 220, 17, 0, 0, 0, 0)


def new_session(given):
    os.setsid()
    return REACHED


def new_group(given):
    os.setpgid(0, 0)
    return REACHED


def hide_from_server(given):
    return REACHED if LIBC.prctl(4, 0, 0, 0, 0) == 0 else held()


def outlive_parent(given):
    return REACHED if LIBC.prctl(1, 0, 0, 0, 0) == 0 else held()


def held():
    raise PermissionError


# The system.


def new_namespaces(given):
    return syscall(272, 97, 0x10000000)


def clone_into_namespaces(given):
    return syscall(56, 220, 0x10000000 | 17, 0, 0, 0, 0)


def enter_namespace(given):
    return syscall(308, 268, 0, 0)


def mount(given):
    return syscall(165, 40, b"none", b"/", b"tmpfs", 0, 0)


def change_root(given):
    os.mkdir("root")
    os.chroot("root")
    return REACHED


def become_root(given):
    if os.getuid() == 0:
        os.setgroups([0])
    os.setresuid(0, 0, 0)
    return REACHED


def take_capabilities(given):
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    return syscall(126, 91, header, (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6))


def ring(given):
    return syscall(425, 425, 8, ctypes.create_string_buffer(120))


def bpf(given):
    return syscall(321, 280, 0, 0, 0)


def keys(given):
    return syscall(250, 219, 0, -3, 1)


def performance_events(given):
    return syscall(298, 241, 0, 0, -1, -1, 0)


def page_faults(given):
    return syscall(323, 282, 0)


def personality(given):
    return syscall(135, 92, 0x0040000)


def shared_memory(given):
    return syscall(29, 194, 0, 4096, 0o1600)


def message_queue(given):
    return syscall(240, 180, b"evil", 0o102, 0o600, 0)


def kernel_module(given):
    return syscall(313, 273, 0, b"", 0)


def restart_host(given):
    return syscall(169, 142, 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0)


def set_clock(given):
    time.clock_settime(time.CLOCK_REALTIME, 0)
    return REACHED


def name_host(given):
    socket.sethostname("evil")
    return REACHED


def raise_limits(given):
    infinite = struct.pack("QQ", 2**64 - 1, 2**64 - 1)
    return syscall(302, 261, 0, resource.RLIMIT_AS, infinite, None)


def unknown_system_call(given):
    return syscall(457, 457, 0, 0, 0, 0)


def other_calling_convention(given):
    if not X86:
        os.kill(os.getpid(), signal.SIGSYS)
        os._exit(1)
    return syscall(0x40000000 | 39, 0)


# The network.


def tcp(given):
    socket.create_connection(("127.0.0.1", given["port"]), 1)
    return REACHED


def udp(given):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return REACHED


def raw_socket(given):
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
    return REACHED


def netlink(given):
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    return REACHED


def unix_socket(given):
    socket.socket(socket.AF_UNIX).connect(given["unix"])
    return REACHED


def abstract_socket(given):
    socket.socket(socket.AF_UNIX).connect("\0" + given["abstract"])
    return REACHED


def connect_a_pair_elsewhere(given):
    ours, _ = socket.socketpair()
    ours.connect(given["unix"])
    return REACHED


def datagram_to_unix_socket(given):
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.sendto(b"x", given["unix"])
    return REACHED


def virtual_machine_socket(given):
    socket.socket(40, socket.SOCK_STREAM)
    return REACHED


def resolve(given):
    try:
        return f"{REACHED}: {socket.getaddrinfo('localhost.example', 80)}"
    except socket.gaierror as error:
        raise PermissionError from error


# Bombs, and bad manners.


def allocate(given):
    return len(bytearray(1 << 30))


def map_shared(given):
    return len(mmap.mmap(-1, 1 << 30))


def many_allocations(given):
    kept = []
    while True:
        kept.append(bytearray(1 << 16))


def recurse(given):
    return recurse(given)


def threads(given):
    while True:
        threading.Thread(target=time.sleep, args=(60,)).start()


def small_threads(given):
    threading.stack_size(max(1 << 15, os.sysconf("SC_THREAD_STACK_MIN")))
    started = 0
    while True:
        try:
            threading.Thread(target=time.sleep, args=(60,)).start()
            started += 1
        except RuntimeError:
            time.sleep(1)


def one_large_file(given):
    with open("large", "wb") as file:
        while True:
            file.write(bytes(1 << 20))


def many_large_files(given):
    for number in range(1000):
        with open(f"large-{number}", "wb") as file:
            file.write(bytes(1 << 20))
    time.sleep(60)


def many_small_files(given):
    for number in range(1_000_000):
        os.close(os.open(str(number), os.O_CREAT))


def removed_files(given):
    kept = []
    for _ in range(20):
        kept.append(open("removed", "wb"))  # noqa: SIM115 - it stays open
        os.unlink("removed")
        kept[-1].write(bytes(1 << 20))
        kept[-1].flush()
    time.sleep(60)


def deep_folders(given):
    for _ in range(300):
        os.mkdir("d")
        os.chdir("d")
    os.mkdir("closed", 0)
    return "made"


def closed_folders(given):
    os.makedirs("closed/inner/innermost")
    os.mkdir("closed/inner/none", 0)
    return "made"


def print_a_gigabyte(given):
    for _ in range(1000):
        sys.stdout.write("x" * (1 << 20))


def answer_ten_megabytes(given):
    return "x" * 10_000_000


def claim_a_long_answer(given):
    write_result(struct.pack(">Q", 1 << 62) + b"x")
    time.sleep(60)


def write_a_long_answer(given):
    write_result(struct.pack(">Q", 300_000) + b"x" * 300_000)
    time.sleep(60)


def write_junk(given):
    write_result(struct.pack(">Q", 4) + b"{{{{")
    time.sleep(60)


def write_deep_json(given):
    write_result(struct.pack(">Q", 100_000) + b"[" * 100_000)
    time.sleep(60)


def write_wrong_fields(given):
    answer = b'{"output": 5, "failed": [1]}'
    write_result(struct.pack(">Q", len(answer)) + answer)
    time.sleep(60)


def write_too_little(given):
    write_result(b"\0\0")
    os._exit(0)


def write_result(data):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, data)
        except OSError:
            continue


def close_everything(given):
    os.closerange(0, 64)
    time.sleep(60)


def hang(given):
    time.sleep(60)


def hang_against_signals(given):
    for number in range(1, 32):
        if number not in {9, 19, 32, 33}:
            signal.signal(number, signal.SIG_IGN)
    time.sleep(60)


def hang_at_exit(given):
    threading.Thread(target=time.sleep, args=(60,)).start()
    return "answered"


def burn(given):
    while True:
        pass


def burn_against_signals(given):
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def stop(given):
    os._exit(3)


def leave(given):
    sys.exit("bye")


def crash(given):
    ctypes.string_at(0)


def abort(given):
    os.abort()


def interrupt(given):
    raise KeyboardInterrupt


def answer_an_object(given):
    return object()


def answer_no_number(given):
    return {"value": float("nan")}


def answer_itself(given):
    circle = []
    circle.append(circle)
    return circle


def answer_odd_characters(given):
    return "a\0b\ud800c"


def raise_a_bad_error(given):
    class Bad(Exception):
        def __str__(self):
            raise ValueError("no")

    raise Bad


def raise_a_long_error(given):
    raise ValueError("x" * 10_000_000)


def raise_with_paths(given):
    raise ValueError(f"{__file__} {os.getcwd()} {os.__file__}")
