//! The servers that other tests rely on do what those tests take for granted.

use std::process::Command;

use crate::support::services::{Docker, Sshd, mcp_client_python, run, stdout_of};

#[test]
fn sshd_runs_commands_and_openssh_refuses_a_changed_host_key() {
    let Some(sshd) = Sshd::up(&["jump"]) else { return };
    for host in ["target", "far"] {
        assert_eq!(stdout_of(sshd.client().args([host, "echo ok"])), "ok\n", "by way of `{host}`");
    }

    sshd.apply("mitm");
    let output = run(sshd.client().args(["target", "echo ok"]));
    assert_eq!(output.status.code(), Some(255));
    assert!(output.stdout.is_empty(), "the command ran on a host that showed the wrong key");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("Host key verification failed"), "{complaint}");

    // It was the key that was refused, not a server that was gone.
    sshd.apply("heal");
    assert_eq!(stdout_of(sshd.client().args(["target", "echo ok"])), "ok\n");
    assert!(sshd.variable("PALISADE_SSH_PORT_TARGET").parse::<u16>().is_ok());
}

#[test]
fn docker_runs_a_command_in_a_container_without_a_network() {
    let Some(docker) = Docker::up() else { return };
    let container = docker.container("palisade-services-test");
    let exec = |script: &str| container.bash("0:0", script);
    assert_eq!(exec("echo ok"), "ok\r\n");
    // Two header lines and the loopback device.
    assert_eq!(exec("grep -c . /proc/net/dev"), "3\r\n");
}

#[test]
fn python_has_the_reference_mcp_client() {
    let Some(python) = mcp_client_python() else { return };
    let version = "import importlib.metadata as m, mcp.client.stdio; print(m.version('mcp'))";
    let printed = stdout_of(Command::new(python).args(["-c", version]));
    assert!(printed.starts_with("2.3."), "{printed}");
}
