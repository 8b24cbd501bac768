//! The real minikube. Runs where `SRE_TEST_MINIKUBE` names a profile that it may create and delete.
#![allow(clippy::unwrap_used)]

#[path = "support/needs.rs"]
mod needs;

use std::path::Path;
use std::time::Duration;

use sre::interrupt::Interrupt;
use sre::stack;
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::image::{full_name, write_archive};
use sre::target::kubernetes::minikube::{Minikube, differences};
use sre::target::kubernetes::minikube_output::{Event, State};

/// There is one machine, so one test has it at a time.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How long a test may take; a start takes about 20 s.
const BOUND: Duration = Duration::from_secs(240);

/// Runs a test on a profile that is not there yet, and deletes it at the end, also of a failed test.
async fn on_profile<F: Future<Output = ()> + Send + 'static>(
    body: impl FnOnce(Minikube, stack::Minikube) -> F,
) {
    let Some(profile) = needs::variable("minikube", "SRE_TEST_MINIKUBE", "profile") else { return };
    let _machine = MACHINE.lock().await;
    let minikube = Minikube::new(&profile, &Interrupt::default());
    minikube.delete(&mut |_| ()).await.unwrap();
    assert_eq!(minikube.state().await.unwrap(), State::Absent);
    let wanted = stack::Minikube { profile, ..stack::Minikube::default() };
    let result = tokio::time::timeout(BOUND, tokio::spawn(body(minikube.clone(), wanted))).await;
    minikube.delete(&mut |_| ()).await.unwrap();
    if let Err(error) = result.expect("the test ends in time") {
        std::panic::resume_unwind(error.into_panic());
    }
}

#[tokio::test]
async fn a_profile_is_made_from_nothing_and_gets_images() {
    on_profile(|minikube, wanted| async move {
        assert!(minikube.version().await.unwrap().starts_with('v'));
        assert_eq!(minikube.profile().await.unwrap(), None);

        let unsupported = stack::Minikube { driver: Some("nosuch".into()), ..wanted.clone() };
        let error = minikube.start(&unsupported, &mut |_| ()).await.unwrap_err();
        assert_eq!(error.exit().code(), 5, "{error}");

        let mut steps = Vec::new();
        let mut record = |event: &Event| {
            if let Event::Step { current, total, .. } = event {
                steps.push((*current, *total));
            }
        };
        minikube.start(&wanted, &mut record).await.unwrap();
        let (last, total) = *steps.last().unwrap();
        assert_eq!(last, total, "the progress ends at its end: {steps:?}");
        assert!(steps.is_sorted(), "{steps:?}");
        assert_eq!(minikube.state().await.unwrap(), State::Running);
        let made = minikube.profile().await.unwrap().unwrap();
        assert_eq!(differences(&made, &wanted), Vec::<String>::new());
        let cluster = Cluster::connect(None, Some(&wanted.profile)).await.unwrap();
        assert_eq!(cluster.version(), made.kubernetes_version);

        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("sre.tar");
        // Another one each time: a machine may outlive its profile, and its images with it.
        let tag = format!("sre-test:{}", uuid::Uuid::new_v4());
        let image = full_name(&tag);
        let missing = minikube.load(Path::new("/nonexistent.tar"), &image).await.unwrap_err();
        assert!(missing.what().contains(&image), "{missing}");
        write_archive(&std::env::current_exe().unwrap(), &tag, &archive).unwrap();
        minikube.load(&archive, &image).await.unwrap();

        minikube.delete(&mut |_| ()).await.unwrap();
        assert_eq!(minikube.state().await.unwrap(), State::Absent);
    })
    .await;
}
