//! Tells which snapshots the VMs of libvirt have, and which they could have. Changes nothing.

fn main() -> std::process::ExitCode {
    vm_snapshot::info()
}
