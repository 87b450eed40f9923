//! Moves a rootless Podman service from one account to another, whole or not at all, and back.

fn main() -> std::process::ExitCode {
    podman_service::main()
}
