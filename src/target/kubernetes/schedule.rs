//! Runs steps in the order of their needs, the independent ones at the same time.

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::error::Result;

/// Runs one future a step, each as soon as all steps that it needs are done. `needs[i]` are the steps
/// that step `i` needs; there is no cycle among them.
///
/// After the first error no further step starts; those that run are dropped, and the error is returned.
pub async fn run<F: Future<Output = Result<()>>>(
    needs: &[Vec<usize>],
    mut start: impl FnMut(usize) -> F,
) -> Result<()> {
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut running = FuturesUnordered::new();
    let mut launch = |step: usize| {
        let work = start(step);
        async move { work.await.map(|()| step) }
    };
    for (step, needed) in needs.iter().enumerate() {
        if needed.is_empty() {
            running.push(launch(step));
        }
    }
    while let Some(done) = running.next().await {
        let done = done?;
        for (step, needed) in needs.iter().enumerate() {
            let met = needed.iter().filter(|need| **need == done).count();
            if met > 0 {
                open[step] -= met;
                if open[step] == 0 {
                    running.push(launch(step));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::error::Error;

    #[tokio::test]
    async fn independent_steps_run_together_and_dependent_ones_after() {
        // 0 and 1 wait for each other: they finish only if both run at the same time.
        let barrier = tokio::sync::Barrier::new(2);
        let order = Mutex::new(Vec::new());
        let needs = [vec![], vec![], vec![0, 1]];
        run(&needs, |step| {
            let (barrier, order) = (&barrier, &order);
            async move {
                if step < 2 {
                    barrier.wait().await;
                }
                order.lock().unwrap().push(step);
                Ok(())
            }
        })
        .await
        .unwrap();
        assert_eq!(order.lock().unwrap().last(), Some(&2));
        assert_eq!(order.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn nothing_starts_after_an_error() {
        let needs = [vec![], vec![0]];
        let started = Mutex::new(Vec::new());
        let error = run(&needs, |step| {
            started.lock().unwrap().push(step);
            async move { Err(Error::target("broken")) }
        })
        .await
        .unwrap_err();
        assert_eq!(error.what(), "broken");
        assert_eq!(*started.lock().unwrap(), [0]);
    }
}
