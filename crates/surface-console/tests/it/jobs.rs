//! Jobs, schedules and reconcilers over HTTP.

use reeve_domain::background;
use reeve_testkit::db::on_both;
use reeve_testkit::find;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{Ask, Console};

const WAITING: &str = "01900000-0000-7000-8000-00000000000a";
const SAGA: &str = "01900000-0000-7000-8000-00000000000b";
const NOBODY: &str = "01900000-0000-7000-8000-0000000000ff";

impl Console {
    async fn get(&self, path: &str) -> crate::Answer {
        self.send("GET", path, "master-key", Value::Null).await
    }
    async fn post(&self, path: &str) -> crate::Answer {
        self.send("POST", path, "master-key", Value::Null).await
    }
    async fn plant(&self, id: &str, kind: &str, state: &str, error: &str) {
        let finished = if state == "queued" { "NULL" } else { "5" };
        let sql = format!(
            "INSERT INTO jobs (id, kind, payload, subject, state, run_at, requested_by, inserted_at, attempts, finished_at, error)
             VALUES ('{id}', '{kind}', 'null', 'node-1', '{state}', 0, 'user:ann', 0, {}, {finished}, {error})",
            if state == "queued" { 0 } else { 3 }
        );
        let mut tx = self.db.store.begin().await.unwrap();
        tx.execute(&sql, &[]).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn header<'a>(answer: &'a crate::Answer, name: &str) -> &'a str {
    answer.headers[name].to_str().unwrap()
}

#[tokio::test]
async fn jobs_are_listed_shown_stopped_and_tried_again() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        console.plant(WAITING, "execution.prune", "queued", "NULL").await;
        console.plant(SAGA, "node.drain", "failed", "'cordon: no'").await;
        for (query, count) in [
            ("", 2),
            ("?state=queued", 1),
            ("?state=queued,failed", 2),
            ("?kind=node.*", 1),
            ("?kind=execution.prune,node.drain&state=failed", 1),
            ("?subject=node-1", 2),
            ("?subject=node-2", 0),
        ] {
            let page = console.get(&format!("/api/jobs{query}")).await;
            assert_eq!((page.status, &page.body["meta"]["pagination"]["total_count"]), (200, &json!(count)), "{query}");
        }
        let page = console.get("/api/jobs?page=2&page_size=1").await;
        assert_eq!(page.data("/0/id"), WAITING, "the newest come first");
        let wrong = console.get("/api/jobs?state=asleep").await;
        assert_eq!(wrong.status, 422);
        assert!(wrong.body["error"]["details"]["state"][0].as_str().unwrap().contains("there are queued, running"));

        let job = console.get(&format!("/api/jobs/{SAGA}")).await;
        assert_eq!((job.data("/error"), job.data("/requested_by")), (&json!("cordon: no"), &json!("user:ann")));
        assert_eq!(
            (job.data("/steps"), job.data("/progress"), job.data("/attempts")),
            (&json!([]), &Value::Null, &json!(3))
        );
        for (verb, id, status) in [
            ("cancel", SAGA, 409),
            ("cancel", NOBODY, 404),
            ("retry", WAITING, 409),
            ("retry", NOBODY, 404),
            ("retry", "nonsense", 400),
            ("cancel", WAITING, 200),
            ("retry", SAGA, 200),
        ] {
            let answer = console.post(&format!("/api/jobs/{id}/{verb}")).await;
            assert_eq!(answer.status, status, "{verb} {id}: {}", answer.body);
        }
        let job = console.get(&format!("/api/jobs/{SAGA}")).await;
        assert_eq!((job.data("/state"), job.data("/attempts")), (&json!("queued"), &json!(0)));
        let audit = console.get("/api/audit?action=job.*").await;
        assert_eq!((audit.data("/0/action"), audit.data("/0/subject")), (&json!("job.retry"), &json!(SAGA)));
        assert_eq!((audit.data("/1/action"), audit.data("/1/subject")), (&json!("job.cancel"), &json!(WAITING)));
    })
    .await;
}

#[tokio::test]
async fn a_poked_schedule_makes_a_job_whose_output_is_read_and_followed() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        let stop = CancellationToken::new();
        let mut loops = background::start(&console.app, &stop);
        find("every schedule to know its next tick", async || {
            let schedules = console.get("/api/schedules").await.body["data"].take();
            let known = schedules.as_array().unwrap().iter().all(|schedule| !schedule["next_at"].is_null());
            if known { Ok(()) } else { Err(schedules) }
        })
        .await;
        let ask = || Ask {
            method: "POST",
            path: "/api/schedules/execution.prune/poke",
            bearer: "master-key",
            body: Value::Null,
            header: Some(("idempotency-key", "once")),
        };
        assert_eq!(console.ask(ask()).await.status, 202);
        assert_eq!(console.ask(ask()).await.headers["idempotency-replayed"], "true");
        let id = find("the job to succeed", async || {
            let done = console.get("/api/jobs?kind=execution.prune&state=succeeded").await;
            done.data("/0/id").as_str().map(str::to_owned).ok_or(done.body)
        })
        .await;
        let job = console.get(&format!("/api/jobs/{id}")).await;
        assert_eq!((job.data("/requested_by"), job.data("/progress/done")), (&json!("schedule"), &json!(0)));

        let whole = console.get(&format!("/api/jobs/{id}/output")).await;
        let text = whole.body.as_str().unwrap().to_owned();
        assert!(text.ends_with("dropped 0\n"), "{text}");
        let end = text.len().to_string();
        assert_eq!((header(&whole, "x-next-offset"), header(&whole, "x-complete")), (end.as_str(), "true"));
        let piece = console.get(&format!("/api/jobs/{id}/output?offset=9&limit=10")).await;
        assert_eq!((piece.body.as_str(), header(&piece, "x-complete")), (Some("executions"), "false"));
        assert_eq!(console.get(&format!("/api/jobs/{id}/output?offset=-1")).await.status, 400);
        assert_eq!(console.get(&format!("/api/jobs/{NOBODY}/output")).await.status, 404);

        let path = format!("/api/jobs/{id}/stream");
        let stream = |after: &'static str| {
            let header = (!after.is_empty()).then_some(("last-event-id", after));
            Ask { method: "GET", path: &path, bearer: "master-key", body: Value::Null, header }
        };
        let all = console.ask(stream("")).await.body;
        let all = all.as_str().unwrap();
        assert!(all.contains(&format!("id: {end}\nevent: output\n")) && all.contains("event: end\n"), "{all}");
        let rest = console.ask(stream("9")).await.body;
        assert!(rest.as_str().unwrap().contains(r#"{"offset":9,"#), "{rest}");
        assert_eq!(console.ask(stream("7.x")).await.status, 422);

        let schedules = console.get("/api/schedules").await;
        let pruning =
            schedules.body["data"].as_array().unwrap().iter().find(|s| s["name"] == "execution.prune").unwrap();
        assert!(pruning["last_at"].is_string() && pruning["rhythm"] == "0 0 * * *", "{pruning}");
        stop.cancel();
        while loops.join_next().await.is_some() {}
    })
    .await;
}

#[tokio::test]
async fn reconcilers_say_how_they_are_and_can_be_poked() {
    on_both(|db| async move {
        let console = Console::new(db).await;
        let stop = CancellationToken::new();
        let mut loops = background::start(&console.app, &stop);
        let named = async |name: &str| {
            let list = console.get("/api/reconcilers").await.body["data"].clone();
            list.as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone()
        };
        for name in ["node.sweep", "command.fan_out"] {
            let passed = async |beyond: Option<u64>| {
                find("a pass", async || match named(name).await {
                    found if found["passes"].as_u64() > beyond => Ok(found),
                    found => Err(found),
                })
                .await
            };
            let before = passed(Some(0)).await;
            assert_eq!((&before["last_error"], &before["enabled"]), (&Value::Null, &json!(true)));
            assert_eq!(console.post(&format!("/api/reconcilers/{name}/poke")).await.status, 202);
            passed(before["passes"].as_u64()).await;
        }
        assert_eq!(console.post("/api/reconcilers/nothing/poke").await.status, 404);
        assert_eq!(console.post("/api/schedules/node.sweep/poke").await.status, 404);
        let audit = console.get("/api/audit?action=reconciler.poke").await;
        assert_eq!(audit.data("/1/subject"), "node.sweep");
        stop.cancel();
        while loops.join_next().await.is_some() {}
    })
    .await;
}
