//! Every fault put to every observing tool.

use super::*;

#[tokio::test]
async fn success_without_secrets() {
    let bench = filled().await;
    for name in names() {
        let answer = ask(&bench, name)
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let text = answer.to_string();
        assert!(!text.contains("hunter2"), "{name}: {text}");
        assert!(!answer.as_array().is_some_and(Vec::is_empty), "{name} found nothing");
    }
}

#[tokio::test]
async fn hanging() {
    check(|system| Fault::new(system, FaultKind::Hang), later).await;
}

#[tokio::test]
async fn answers_that_are_lost_or_break_off() {
    check(|system| Fault::new(system, FaultKind::Lost), later).await;
    check(|system| Fault::new(system, FaultKind::Cut), later).await;
}

#[tokio::test]
async fn server_errors_are_not_repeated() {
    for status in [500, 503, 504, 429] {
        check(
            move |system| Fault::new(system, FaultKind::Error).answer(status, "password=hunter2"),
            later,
        )
        .await;
    }
    let bench = filled().await;
    let fault = Fault::new(System::Kubernetes, FaultKind::Error)
        .answer(503, "")
        .times(1);
    bench.world.fail(fault);
    ask(&bench, "kubernetes_pods").await.unwrap_err();
    assert_eq!(bench.world.count(System::Kubernetes, "GET"), 1);
}

#[tokio::test]
async fn refusals_show_no_credentials() {
    // A server that repeats the token: a plain word where the tool knows it, a JWT (as service accounts have) where it does not.
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJodW50ZXIyaHVudGVyMiJ9.c2lnbmF0dXJl";
    let body = |system| {
        let token = if system == System::Kubernetes { jwt } else { TOKEN };
        format!(r#"{{"message":"no rights for token {token}, password: hunter2","error":"not for {token}"}}"#)
    };
    for status in [400, 401, 403, 404, 422, 302] {
        let refusal = |system| Fault::new(system, FaultKind::Error).answer(status, &body(system));
        check(refusal, |failure| {
            refused(failure) && !failure.to_string().contains("eyJ")
        })
        .await;
    }
}

#[tokio::test]
async fn rubbish_and_too_much() {
    check(|system| Fault::new(system, FaultKind::Rubbish), later).await;
    check(|system| Fault::new(system, FaultKind::Huge), refused).await;
    for body in ["[]", "{}", "null", r#"{"items":7,"data":7,"status":"success"}"#] {
        check_of(
            names().filter(|name| body != "[]" || !answers_a_list(name)),
            move |system| Fault::new(system, FaultKind::Error).answer(200, body),
            later,
        )
        .await;
    }
}

#[tokio::test]
async fn nobody_there() {
    let Bench {
        running,
        observe,
        world,
        ..
    } = filled().await;
    let gone = running.url();
    drop(running);
    // A tool of its own: connections that are open already may live on.
    let settings = support::settings(&gone);
    let fresh = tools::connect::observe(&settings).await.unwrap();
    drop((observe, world));
    support::until("the port to be closed", async || {
        tokio::net::TcpStream::connect(gone.trim_start_matches("http://"))
            .await
            .err()
    })
    .await;
    for name in names() {
        let failure = ask_of(&fresh, name).await.unwrap_err();
        assert!(later(&failure), "{name}: {failure:?}");
    }
}

#[tokio::test]
async fn late_and_twice_are_answers_all_the_same() {
    let bench = filled().await;
    for name in names() {
        let system = question(name).0;
        let late = Fault {
            delay_ms: 30,
            ..Fault::new(system, FaultKind::Late)
        };
        for fault in [late, Fault::new(system, FaultKind::Twice)] {
            bench.world.fail(fault);
            ask(&bench, name)
                .await
                .unwrap_or_else(|failure| panic!("{name}: {failure}"));
            bench.world.heal();
        }
    }
}

#[tokio::test]
async fn only_dry_runs_are_patched_and_they_change_nothing() {
    let bench = filled().await;
    let before = bench.cluster().state(&restart()).await.unwrap();
    for name in names() {
        ask(&bench, name).await.unwrap();
    }
    let requests = bench.world.state().requests.clone();
    for seen in requests.iter().filter(|seen| seen.method != "GET") {
        assert!(
            seen.method == "PATCH" && seen.uri.contains("dryRun=All"),
            "{} {}",
            seen.method,
            seen.uri
        );
    }
    let after = bench.cluster().state(&restart()).await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn more_than_is_handed_on_is_refused_not_cut() {
    let bench = filled().await;
    for index in 0..20 {
        let labels = [
            ("__name__".to_owned(), "up".to_owned()),
            ("pod".to_owned(), index.to_string()),
        ];
        bench.world.state().prometheus.series.push(world::prometheus::Stored {
            labels: labels.into(),
            points: vec![(Utc::now().timestamp() as f64 - 1.0, 1.0)],
        });
    }
    let failure = ask(&bench, "prometheus_query").await.unwrap_err();
    assert!(failure.to_string().contains("21 series, at most 20"), "{failure}");
    let span = json!({"expression": "up", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "step_s": 1});
    let failure = call(&bench.observe, "prometheus_query_range", span).await.unwrap_err();
    assert!(failure.to_string().contains("take a larger step"), "{failure}");
}

#[tokio::test]
async fn a_wrong_expression_is_refused_with_the_servers_words() {
    let bench = filled().await;
    for expression in ["up{", "", "rate(up[5m])"] {
        let arguments = json!({"expression": expression, "at": Utc::now()});
        let failure = call(&bench.observe, "prometheus_query", arguments).await.unwrap_err();
        assert!(refused(&failure), "{failure:?}");
    }
}

#[tokio::test]
async fn samples_that_are_no_numbers_are_left_out() {
    let bench = filled().await;
    let answer = ask(&bench, "prometheus_query_range").await.unwrap();
    let points = answer[0]["points"].as_array().unwrap();
    assert!(
        !points.is_empty() && points.iter().all(|point| point["value"].is_number()),
        "{points:?}"
    );
    let alerts = ask(&bench, "prometheus_alerts").await.unwrap();
    assert_eq!(alerts[0]["state"], "firing");
    assert_eq!(alerts[0]["labels"]["alertname"], "HighMemory");
}
