//! The image of one static program, on a real cluster: `SRE_TEST_KUBECONFIG`, and `SRE_TEST_IMAGE_LOADER`, a
//! command with `{archive}` and `{image}` that loads it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::process::Command;
use std::time::Duration;

use common::{in_namespace, needs};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};
use sre::interrupt::Interrupt;
use sre::target::kubernetes::apply::{Mode, apply};
use sre::target::kubernetes::image::{Loader, full_name, program, write_archive};
use sre::target::kubernetes::object::read_objects;
use sre::target::kubernetes::wait;

const SOURCE: &str = r#"fn main() {
    let tmp = std::fs::write("/tmp/x", "y").is_ok();
    let dns = std::net::ToSocketAddrs::to_socket_addrs(&("kubernetes.default.svc", 443)).is_ok();
    println!("tmp {tmp} dns {dns}");
}"#;

#[tokio::test]
async fn an_image_of_a_static_program_runs_as_a_restricted_pod() {
    let Some(loader) = needs::variable("cluster", "SRE_TEST_IMAGE_LOADER", "command") else { return };
    in_namespace("image", |cluster, namespace| async move {
        let folder = tempfile::tempdir().unwrap();
        let (source, binary) = (folder.path().join("main.rs"), folder.path().join("program"));
        std::fs::write(&source, SOURCE).unwrap();
        let compile = |flags: &[&str]| {
            let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
            let status = Command::new(rustc).args(flags).arg("-o").arg(&binary).arg(&source).status();
            assert!(status.unwrap().success());
        };
        compile(&[]);
        assert_eq!(program(Some(binary.clone())).unwrap_err().exit().code(), 5, "a dynamic one is refused");
        compile(&["-C", "target-feature=+crt-static"]);
        let image = full_name("sre-test-image:1");
        let archive = folder.path().join("image.tar");
        write_archive(&program(Some(binary.clone())).unwrap(), &image, &archive).unwrap();
        Loader::Command(loader).load(&archive, &image, &Interrupt::default()).await.unwrap();

        let job = format!(
            r#"
apiVersion: batch/v1
kind: Job
metadata: {{name: image}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: main
          image: {image}
          imagePullPolicy: Never
          securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"#
        );
        let objects = read_objects("job.yaml", &job).unwrap();
        let applied = apply(&cluster, &namespace, &objects, Mode::Write).await.unwrap();
        let references = [applied[0].object.clone()];
        wait::ready(&cluster, &references, Duration::from_secs(180), &|_| ()).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(cluster.client(), &namespace);
        let pod = pods.list(&ListParams::default()).await.unwrap().items.remove(0);
        let log = pods.logs(pod.metadata.name.as_deref().unwrap(), &LogParams::default()).await.unwrap();
        assert_eq!(log, "tmp true dns true\n");
    })
    .await;
}
