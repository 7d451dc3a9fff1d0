"""Two QEMU guests, their NICs joined pair by pair, and commands run in them."""

import contextlib
import json
import queue
import re
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

MEMORY_MIB = 512
BOOT_SECONDS = 120


class Broken(Exception):
    """A guest that does not do what it should; no test can follow. The text says why."""


class Refused(Exception):
    """QEMU does not do what it was asked."""


@dataclass
class Nic:
    """A kind of NIC that each guest has one of, and how the two are joined."""

    name: str
    device: str
    slot: int
    tap_queues: int = 0  # 0: a socket of QEMU's joins the two
    settings: tuple = ()  # libndstack's, in all tests

    @property
    def pci(self):
        return f"0000:00:{self.slot:02x}.0"

    @property
    def device_id(self):
        return f"dev{self.slot}"

    def options(self, guest, folder):
        """QEMU's, for guest 0 or 1."""
        name = f"nic{self.slot}"
        if self.tap_queues:
            backend = (f"tap,id={name},ifname={self.tap(guest)},queues={self.tap_queues},"
                       "script=no,downscript=no,vhost=off")
        else:
            backend = (f"stream,id={name},server={'on' if guest == 0 else 'off'},addr.type=unix,"
                       f"addr.path={folder}/{name}")
        return ["-netdev", backend,
                "-device", f"{self.device},id={self.device_id},netdev={name},addr={self.slot:#x},"
                           f"mac=52:54:00:00:{self.slot:02x}:{guest + 1:02x},romfile="]

    def tap(self, guest):
        return f"nd{self.slot}g{guest}"

    def plug(self):
        """The taps and the bridge between them; in the network namespace that we are in."""
        commands = [f"link add ndbr{self.slot} type bridge"]
        for guest in (0, 1):
            commands += [f"tuntap add {self.tap(guest)} mode tap multi_queue vnet_hdr",
                         f"link set {self.tap(guest)} master ndbr{self.slot} mtu 9000 up"]
        commands.append(f"link set ndbr{self.slot} mtu 9000 up")
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True, timeout=10,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@dataclass
class Answer:
    code: int
    out: str
    err: str


class Guest:
    """One guest. It ends with the with block, and with this process."""

    def __init__(self, number, folder, kernel, initramfs, nics, cpus):
        self.number = number
        self.folder = folder
        self.console = folder / f"console{number}"
        self.lines = queue.Queue()
        self.asked = 0
        control = folder / f"control{number}"
        # No default devices, no option ROMs: the sooner it boots.
        self.command = [
            "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64",
            "-accel", "tcg,thread=multi", "-machine", "pc", "-cpu", "max", "-smp", str(cpus),
            "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-kernel", str(kernel), "-initrd", str(initramfs), "-append",
            "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on",
            "-chardev", f"file,id=con,path={self.console}", "-device", "isa-serial,chardev=con",
            "-chardev", f"socket,id=ctl,path={control},server=on,wait=on",
            "-device", "isa-serial,chardev=ctl",
            "-chardev", f"socket,id=qmp,path={folder}/qmp{number},server=on,wait=off",
            "-mon", "chardev=qmp,mode=control"]
        for nic in nics:
            self.command += nic.options(number, folder)
        self.log = open(folder / f"qemu{number}", "w+")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        try:
            self.control = self.connect(control, 10)
            threading.Thread(target=self.read, daemon=True).start()
        except BaseException:
            self.end()
            raise

    def connect(self, path, seconds):
        deadline = time.monotonic() + seconds
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(str(path))
                return s
            except OSError:
                s.close()
                self.must_run()
                if time.monotonic() > deadline:
                    raise Broken(f"guest {self.number}: QEMU does not listen on {path}") from None
                time.sleep(0.05)

    def must_run(self):
        if self.process.poll() is None:
            return
        self.log.seek(0)
        said = self.log.read().strip() or self.console_tail()
        raise Broken(f"guest {self.number} has ended, exit code {self.process.returncode}: {said}")

    def console_tail(self):
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(text.splitlines()[-20:])

    def read(self):
        with contextlib.suppress(OSError):  # the guest has ended
            for line in self.control.makefile("r", encoding="utf-8", errors="replace"):
                self.lines.put(line.rstrip("\r\n"))

    def line(self, deadline):
        """The next line from the guest."""
        while True:
            try:
                return self.lines.get(timeout=0.2)
            except queue.Empty:
                self.must_run()
                if time.monotonic() > deadline:
                    raise Broken(f"guest {self.number} is silent; its console ends with:\n"
                                 f"{self.console_tail()}") from None

    def wait_ready(self):
        deadline = time.monotonic() + BOOT_SECONDS
        while self.line(deadline) != "=ready":
            pass

    def start(self, command, seconds):
        """Runs a shell command in the guest, which ends it after `seconds`."""
        self.asked += 1
        self.deadline = time.monotonic() + seconds + 20
        self.control.sendall(f"run {self.asked} {seconds} {command}\n".encode())

    def stop(self):
        """Asks the program that start() started to end."""
        self.control.sendall(b"stop\n")

    def answer(self):
        """What the command of the last start() came to."""
        texts, text = {"out": [], "err": []}, None
        while True:
            line = self.line(self.deadline)
            if line == f"=begin {self.asked}":
                text = texts["out"]
            elif text is None:
                continue
            elif line == "=stderr":
                text = texts["err"]
            elif match := re.fullmatch(rf"=end {self.asked} (\d+)", line):
                return Answer(int(match[1]), *("\n".join(t).strip() for t in texts.values()))
            else:
                text.append(line)

    def ask_qemu(self, command, **options):
        """One command of QMP: what the device says, whatever the guest says."""
        with self.connect(self.folder / f"qmp{self.number}", 5) as s:
            s.settimeout(10)
            with s.makefile("r") as replies:
                for name, given in (("qmp_capabilities", {}), (command, options)):
                    s.sendall(json.dumps({"execute": name, "arguments": given}).encode() + b"\n")
                    reply = {}
                    while "return" not in reply:
                        reply = json.loads(replies.readline())
                        if "error" in reply:
                            raise Refused(f"{name}: {reply['error']['desc']}")
        return reply["return"]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.control.close()
