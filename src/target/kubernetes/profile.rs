//! A lab's cluster that may be a minikube profile, which may be stopped or gone: that is told at once, and how to
//! mend it.

use super::client::Cluster;
use super::minikube::Minikube;
use super::minikube_output::State;
use super::reach;
use super::record::ClusterLab;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// The cluster of a lab, as [`reach::connect`].
///
/// # Errors
/// As [`reach::connect`], and where its minikube profile does not run (6).
pub async fn connect(place: &ClusterLab, interrupt: &Interrupt) -> Result<Cluster> {
    let Some(made) = &place.minikube else { return interrupt.or(reach::connect(place)).await? };
    let minikube = Minikube::new(&made.profile, interrupt);
    // An API server that is gone is asked again and again; minikube knows within two seconds.
    let connecting = std::pin::pin!(reach::connect(place));
    let asking = std::pin::pin!(minikube.state());
    match interrupt.or(futures::future::select(connecting, asking)).await? {
        futures::future::Either::Left((Ok(cluster), _)) => Ok(cluster),
        futures::future::Either::Left((Err(error), asking)) => Err(match interrupt.or(asking).await? {
            Ok(state) => not_running(&made.profile, state).unwrap_or(error),
            Err(_) => error,
        }),
        futures::future::Either::Right((state, connecting)) => {
            match state.ok().and_then(|state| not_running(&made.profile, state)) {
                Some(error) => Err(error),
                None => interrupt.or(connecting).await?,
            }
        }
    }
}

fn not_running(profile: &str, state: State) -> Option<Error> {
    match state {
        State::Running => None,
        State::Down => Some(
            Error::target(format!("minikube's profile `{profile}` does not run"))
                .because_of("it is stopped, paused or half-started")
                .hint("sre up starts it"),
        ),
        State::Absent => Some(
            Error::target(format!("minikube's profile `{profile}` is not there any more"))
                .hint("sre up makes it again; sre down forgets it"),
        ),
    }
}
