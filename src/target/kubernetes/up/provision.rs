//! minikube's profile, before anything is put on it.

use std::time::Instant;

use indexmap::IndexMap;

use super::Request;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::stack::ClusterStack;
use crate::target::kubernetes::minikube::{self, Minikube};
use crate::target::kubernetes::minikube_output::{Event, State};
use crate::target::kubernetes::progress::Progress;
use crate::target::kubernetes::record::{ClusterLab, MinikubeLab};
use crate::terminal::Terminal;

/// Creates, starts or takes the profile as it is.
pub(super) async fn provision(
    request: &Request<'_>,
    stack: &ClusterStack,
    before: Option<&ClusterLab>,
    progress: &Progress,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<MinikubeLab> {
    let wanted = &stack.minikube;
    let program = Minikube::new(&wanted.profile, interrupt);
    let version = program.version().await?;
    let ours = before.and_then(|before| before.minikube.as_ref()).is_some_and(|made| made.created);
    let mut state = program.state().await?;
    let tell = |event: &Event| match event {
        // The last one says that all is done: there is nothing to wait for.
        Event::Step { current, total, message } if current < total => {
            progress.step("minikube", u64::from(*current), u64::from(*total), message);
        }
        Event::Download { artifact, progress: share } => {
            progress.tell("minikube", &format!("downloading {artifact}: {:.0} %", share * 100.0));
        }
        Event::Warning(what) => terminal.detail(format!("minikube: {what}")),
        Event::Step { .. } | Event::Failure(_) | Event::Info(_) => {}
    };
    if request.fresh && state != State::Absent {
        let question =
            format!("minikube's profile `{}` will be deleted, with all that it holds", wanted.profile);
        terminal.consent(&question, interrupt).await?;
        program.delete(&mut |event| tell(event)).await?;
        state = State::Absent;
    }
    // A start enables what is lacking by itself.
    let lacking = match state {
        State::Absent => Vec::new(),
        _ => program.lacking(&wanted.addons).await?,
    };
    if state != State::Absent {
        if let Some(profile) = program.profile().await? {
            for difference in minikube::differences(&profile, wanted) {
                terminal.warn(format!("profile `{}`: {difference} (--fresh replaces it)", wanted.profile));
            }
        }
        if !ours {
            let addons = match lacking.as_slice() {
                [] => String::new(),
                lacking => format!(", with addons enabled that stay: {}", lacking.join(", ")),
            };
            let question = format!(
                "minikube's profile `{}` is there already and will be used for {}{addons}",
                wanted.profile, request.stack.name
            );
            terminal.consent(&question, interrupt).await?;
        }
    }
    let created = ours || state == State::Absent;
    if state == State::Absent {
        // Before it is made: whatever happens now, `down` knows whose it is.
        let place = ClusterLab {
            context: wanted.profile.clone(),
            kubeconfig: request.kubeconfig.clone(),
            identity: String::new(),
            namespace: stack.namespace.clone(),
            endpoints: stack.endpoints.clone(),
            image_loader: request.image_loader.clone(),
            values: request.values.clone(),
            images: IndexMap::new(),
            minikube: Some(MinikubeLab { profile: wanted.profile.clone(), created }),
            done: Vec::new(),
        };
        request.lab(place).save(request.folder.root())?;
    }
    if state != State::Running {
        let started = Instant::now();
        progress.say(&format!("minikube {version}: starting profile `{}`", wanted.profile));
        program.start(wanted, &mut |event| tell(event)).await?;
        progress.done(
            "minikube",
            &format!("profile `{}` started · {:.1} s", wanted.profile, started.elapsed().as_secs_f64()),
        );
        return Ok(MinikubeLab { profile: wanted.profile.clone(), created });
    }
    for addon in lacking {
        progress.tell("minikube", &format!("enabling addon {addon}"));
        program.enable(addon).await?;
        progress.done("minikube", &format!("addon {addon} enabled"));
    }
    Ok(MinikubeLab { profile: wanted.profile.clone(), created })
}
