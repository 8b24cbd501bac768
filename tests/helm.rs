//! Real helm on a real cluster, named by `SRE_TEST_KUBECONFIG`: helm 4 as `helm`, and helm 3 as `helm3` where it
//! is on PATH.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{image, in_namespace};
use sre::interrupt::Interrupt;
use sre::target::kubernetes::apply::{Mode, apply};
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::helm::{Helm, Installed};
use sre::target::kubernetes::object::read_objects;
use sre::target::kubernetes::plan::Release;
use sre::target::kubernetes::wait;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charts/web");

fn release(namespace: &str, greeting: &str) -> Release {
    Release {
        name: "web".into(),
        namespace: namespace.into(),
        chart: CHART.into(),
        repository: None,
        version: None,
        sha256: None,
        values: serde_json::json!({"image": image(), "greeting": greeting}),
    }
}

/// The helms that are here.
async fn helms(cluster: &Cluster) -> Vec<(&'static str, Helm)> {
    let mut found = Vec::new();
    for program in ["helm", "helm3"] {
        if let Ok(helm) = Helm::find(program, cluster, &Interrupt::default()).await {
            found.push((program, helm));
        }
    }
    assert!(!found.is_empty(), "no helm on PATH");
    found
}

fn quiet(_: &str) {}

/// A helm that waits for pods that will never be ready, as a `sre` that is gone would have left it.
fn start_stuck(program: &str, cluster: &Cluster, namespace: &str, mark: bool) -> std::process::Child {
    let mut command = Command::new(program);
    command
        .args(["upgrade", "--install", "web", CHART, "--namespace", namespace, "--wait", "--timeout", "5m"])
        .args(["--set", "image=lab.local/nothing:0", "--kube-context", cluster.context(), "--kubeconfig"])
        .arg(cluster.kubeconfig().unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if mark {
        command.env("SRE_RELEASE", format!("{}/{namespace}/web", cluster.context())).env("SRE_PARENT", "1");
    }
    command.spawn().unwrap()
}

async fn until_pending(helm: &Helm, release: &Release) {
    let started = Instant::now();
    loop {
        let history = helm.history(release).await.unwrap();
        if history.last().is_some_and(|last| last.status.starts_with("pending-")) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "helm never began: {history:?}");
    }
}

#[tokio::test]
async fn a_release_is_installed_once_and_upgraded_when_it_changes() {
    in_namespace("helm", |cluster, namespace| async move {
        for (program, helm) in helms(&cluster).await {
            let first = release(&namespace, "hello");
            assert_eq!(helm.upgrade(&first, &quiet).await.unwrap(), Installed::New, "{program}");
            let workloads = helm.workloads(&namespace, "web").await.unwrap();
            assert_eq!(workloads.len(), 1);
            wait::ready(&cluster, &workloads, Duration::from_secs(180), &quiet).await.unwrap();
            let again = Instant::now();
            assert_eq!(helm.upgrade(&first, &quiet).await.unwrap(), Installed::Unchanged, "{program}");
            assert!(again.elapsed() < Duration::from_secs(10));
            let second = release(&namespace, "bye");
            assert_eq!(helm.upgrade(&second, &quiet).await.unwrap(), Installed::Upgraded, "{program}");
            wait::ready(&cluster, &workloads, Duration::from_secs(180), &quiet).await.unwrap();
            assert_eq!(helm.history(&second).await.unwrap().len(), 2);
            helm.uninstall(&namespace, "web").await.unwrap();
            assert_eq!(helm.history(&second).await.unwrap(), []);
            helm.uninstall(&namespace, "web").await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_helm_left_is_mended() {
    in_namespace("killed", |cluster, namespace| async move {
        for (program, helm) in helms(&cluster).await {
            let wanted = release(&namespace, "hello");
            // In the first installation, then in an upgrade.
            for _ in 0..2 {
                let mut stuck = start_stuck(program, &cluster, &namespace, false);
                until_pending(&helm, &wanted).await;
                stuck.kill().unwrap();
                stuck.wait().unwrap();
                assert_eq!(helm.upgrade(&wanted, &quiet).await.unwrap(), Installed::Upgraded, "{program}");
                let workloads = helm.workloads(&namespace, "web").await.unwrap();
                wait::ready(&cluster, &workloads, Duration::from_secs(180), &quiet).await.unwrap();
            }
            helm.uninstall(&namespace, "web").await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_helm_that_outlived_its_sre_is_ended_first() {
    in_namespace("orphan", |cluster, namespace| async move {
        for (program, helm) in helms(&cluster).await {
            let wanted = release(&namespace, "hello");
            let mut orphan = start_stuck(program, &cluster, &namespace, true);
            until_pending(&helm, &wanted).await;
            let reaped = std::thread::spawn(move || orphan.wait().unwrap());
            helm.upgrade(&wanted, &quiet).await.unwrap();
            assert!(reaped.is_finished(), "{program} was left at work");
            let workloads = helm.workloads(&namespace, "web").await.unwrap();
            wait::ready(&cluster, &workloads, Duration::from_secs(180), &quiet).await.unwrap();

            let mut orphan = start_stuck(program, &cluster, &namespace, true);
            until_pending(&helm, &wanted).await;
            let reaped = std::thread::spawn(move || orphan.wait().unwrap());
            helm.uninstall(&namespace, "web").await.unwrap();
            assert!(reaped.is_finished(), "{program} was left at work");
            assert_eq!(helm.history(&wanted).await.unwrap(), []);
        }
    })
    .await;
}

#[tokio::test]
async fn values_win_over_what_others_changed() {
    in_namespace("conflict", |cluster, namespace| async move {
        for (program, helm) in helms(&cluster).await {
            helm.upgrade(&release(&namespace, "hello"), &quiet).await.unwrap();
            let changed = Command::new("kubectl")
                .args(["--kubeconfig"])
                .arg(cluster.kubeconfig().unwrap())
                .args(["--context", cluster.context(), "-n", &namespace])
                .args(["set", "image", "deployment/web", "web=lab.local/nothing:0"])
                .status()
                .unwrap();
            assert!(changed.success());
            helm.upgrade(&release(&namespace, "bye"), &quiet).await.unwrap();
            let workloads = helm.workloads(&namespace, "web").await.unwrap();
            let ready = wait::ready(&cluster, &workloads, Duration::from_secs(180), &quiet).await;
            ready.unwrap_or_else(|error| panic!("{program}: {error}"));
            helm.uninstall(&namespace, "web").await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_chart_would_install_can_be_applied_in_a_dry_run() {
    in_namespace("template", |cluster, namespace| async move {
        for (_, helm) in helms(&cluster).await {
            let text = helm.template(&release(&namespace, "hello")).await.unwrap();
            let objects = read_objects("the rendered chart", &text).unwrap();
            assert_eq!(objects.len(), 1);
            apply(&cluster, &namespace, &objects, Mode::DryRun).await.unwrap();
        }
        let mut broken = release(&namespace, "hello");
        broken.chart = "/nonexistent/chart".into();
        let error = helms(&cluster).await[0].1.upgrade(&broken, &quiet).await.unwrap_err();
        assert!(error.what().contains("release web"), "{error}");
    })
    .await;
}
