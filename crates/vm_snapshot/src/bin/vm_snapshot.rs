//! Takes, reverts or removes a verified snapshot of a VM.

fn main() -> std::process::ExitCode {
    vm_snapshot::snapshot()
}
