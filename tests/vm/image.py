"""What a guest boots: Debian's kernel, not installed, and an initramfs with our build."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

# The cloud kernel: a third of the size, boots faster, and has all that DPDK needs of a kernel.
KERNEL = "linux-image-cloud-amd64"
MODULES = ["uio.ko", "uio_pci_generic.ko"]
PLUGINS = ["librte_bus_pci", "librte_bus_vdev", "librte_mempool_ring", "librte_net_virtio",
           "librte_net_e1000", "librte_net_vmxnet3"]
# glibc opens it when a thread ends, so ldd doesn't show it for each program.
UNSEEN = ["libgcc_s.so.1"]


class Missing(Exception):
    """Something to boot cannot be had; the text says what."""


def run(*command, **more):
    try:
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=300, **more).stdout
    except FileNotFoundError as e:
        raise Missing(f"{command[0]} is not installed") from e
    except subprocess.TimeoutExpired as e:
        raise Missing(f"{command[0]} took more than 300 s") from e
    except subprocess.CalledProcessError as e:
        raise Missing(f"{' '.join(map(str, command))}: {e.stderr.strip()}") from e


def unpacked(cache):
    """The kernel package that apt knows, as a folder of `cache`; downloaded if it isn't there."""
    found = re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", KERNEL))
    if found is None:
        raise Missing(f"apt knows no {KERNEL}")
    root = cache / found[1]
    if not root.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            run("apt-get", "-q", "download", found[1], cwd=work)
            deb = next(Path(work).glob("*.deb"))
            run("dpkg-deb", "-x", str(deb), f"{work}/root")
            Path(work, "root").rename(root)
    return root


def kernel(cache):
    """(kernel, its modules for us), downloaded once into `cache`."""
    try:
        root = unpacked(cache)
    except Missing as first:
        print(f"vm-test: {first}; apt-get update", flush=True)
        run(*([] if os.geteuid() == 0 else ["sudo", "-n"]), "apt-get", "-q", "update")
        root = unpacked(cache)
    image = next(root.glob("boot/vmlinuz-*"), None)
    modules = {p.name: p for p in root.glob("lib/modules/*/kernel/drivers/uio/*.ko")}
    if image is None or any(m not in modules for m in MODULES):
        raise Missing(f"{root.name} has no kernel, or no {' or '.join(MODULES)}")
    return image, [modules[m] for m in MODULES]


def libraries(files):
    """All shared libraries that `files` load, as the loader finds them."""
    found = set()
    for file in files:
        listing = run("ldd", str(file))
        if "not found" in listing:
            raise Missing(f"{file} needs libraries that are not there")
        found |= set(re.findall(r"(/\S+) \(0x", listing))
    return found


def soname(library):
    return re.search(r"SONAME\s+(\S+)", run("objdump", "-p", str(library)))[1]


def initramfs(out, build, modules, programs):
    """Writes a cpio archive with busybox, `programs` of `build` and the PMDs they need."""
    tree = out.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "modules", "dev", "proc", "sys", "tmp", "run", "var/run"):
        (tree / folder).mkdir(parents=True)

    def add(source, target):
        target = tree / target.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755)

    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    if busybox is None:
        raise Missing("busybox is not installed (busybox-static)")
    add(busybox, "bin/busybox")
    add(Path(__file__).with_name("init"), "init")
    for module in modules:
        add(module, f"modules/{module.name}")

    folder = Path(run("pkg-config", "--variable=libdir", "libdpdk").strip())
    plugin_folder = next(iter(folder.glob("dpdk/pmds-*")), None)
    if plugin_folder is None:
        raise Missing(f"no DPDK drivers in {folder}/dpdk")
    # Where the EAL looks there are links: loaded as a driver and as what another driver needs, a
    # library must be the same file.
    (tree / str(plugin_folder)[1:]).mkdir(parents=True)
    plugins = []
    for name in PLUGINS:
        plugin = max(plugin_folder.glob(f"{name}.so.*"), key=lambda p: len(p.name), default=None)
        if plugin is None:
            raise Missing(f"no {name} in {plugin_folder}")
        plugins.append(plugin)
        link = tree / str(plugin)[1:]
        link.symlink_to(f"/lib/{soname(plugin)}")
        add(plugin, f"lib/{soname(plugin)}")
    needed = libraries([build / "apps" / p for p in programs] + plugins)
    needed |= {str(folder / name) for name in UNSEEN}
    for library in sorted(needed):
        add(library, library if library.startswith("/lib64/") else f"lib/{Path(library).name}")
    for program in programs:
        add(build / "apps" / program, f"bin/{program}")

    names = "\n".join(str(p.relative_to(tree)) for p in sorted(tree.rglob("*")))
    with open(out, "wb") as archive:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=tree, check=True,
                       input=names.encode(), stdout=archive, timeout=120)
    shutil.rmtree(tree)
