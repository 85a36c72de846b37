//! Aliases: unique in their cluster, asked for by people and by agents, gone with the node and with a move.

use reeve_domain::alias::{self, MAX_ALIASES, Registration};
use reeve_domain::node;
use reeve_store::audit;
use reeve_testkit::db::on_both;
use reeve_types::alias::AliasFilter;
use reeve_types::audit::AuditFilter;
use reeve_types::{ErrorKind, NodeId, Page, TextMatch};

use crate::world::World;

async fn names(w: &World, id: &NodeId) -> Vec<String> {
    node::get(&w.app, &w.admin, id).await.unwrap().aliases
}

#[tokio::test]
async fn a_name_belongs_to_one_node_of_a_cluster() {
    on_both(|db| async move {
        let w = World::new(db).await;
        w.cluster("two", None).await;
        let (a, b, c) = (w.node("main").await, w.node("main").await, w.node("two").await);
        let made = alias::create(&w.app, &w.admin, &a, "web").await.unwrap();
        assert_eq!((made.cluster_name.as_str(), made.host().as_str()), ("main", "node-web"));
        let error = alias::create(&w.app, &w.admin, &b, "web").await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Conflict, "name has already been taken"));
        let elsewhere = alias::create(&w.app, &w.admin, &c, "web").await.unwrap();
        assert_eq!(elsewhere.cluster_name, "two");
        assert_eq!(alias::create(&w.app, &w.admin, &"gone".into(), "x").await.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(alias::create(&w.app, &w.admin, &a, "A b").await.unwrap_err().kind, ErrorKind::Invalid);

        node::change_cluster(&w.app, &w.admin, &a, "two").await.unwrap();
        assert!(names(&w, &a).await.is_empty());
        alias::create(&w.app, &w.admin, &b, "web").await.unwrap();
        node::delete(&w.app, &w.admin, &c).await.unwrap();
        let left = alias::list(&w.app, &w.admin, &AliasFilter::default(), &[], Page::default()).await.unwrap();
        assert_eq!(left.items.iter().map(|alias| alias.node_id.clone()).collect::<Vec<_>>(), [b]);

        let action = Some(TextMatch::Exact("node.change_cluster".into()));
        let filter = AuditFilter { action, ..AuditFilter::default() };
        let moved = audit::list(&mut w.app.store.read().await.unwrap(), &filter, Page::default()).await.unwrap();
        assert!(moved.items[0].details.contains(r#""aliases_deleted":["web"]"#), "{}", moved.items[0].details);
    })
    .await;
}

#[tokio::test]
async fn an_agent_gets_what_can_be_had() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let (a, b) = (w.node("main").await, w.node("main").await);
        alias::create(&w.app, &w.admin, &b, "taken").await.unwrap();
        let asked = ["web", "taken", "No!", "api"].map(str::to_owned).to_vec();
        let outcomes = alias::register_own(&w.app, &a, asked.clone()).await;
        let refused: Vec<&str> = outcomes.iter().filter(|o| o.problem.is_some()).map(|o| o.name.as_str()).collect();
        assert_eq!(refused, ["taken", "No!"]);
        assert_eq!(outcomes[1].problem.as_deref(), Some("name has already been taken"));
        assert!(outcomes[2].problem.as_ref().unwrap().starts_with("must be 1 to 63 of a-z"), "{outcomes:?}");
        assert_eq!(names(&w, &a).await, ["api", "web"]);
        let again = alias::register_own(&w.app, &a, vec!["web".into()]).await;
        assert_eq!(again, [Registration { name: "web".into(), problem: None }]);

        let many: Vec<String> = (0..MAX_ALIASES + 10).map(|i| format!("n{i}")).collect();
        let outcomes = alias::register_own(&w.app, &a, many).await;
        assert_eq!(outcomes.iter().filter(|o| o.problem.is_none()).count(), MAX_ALIASES - 2);
        assert_eq!(names(&w, &a).await.len(), MAX_ALIASES);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_enrolls_elsewhere_leaves_its_names_behind() {
    on_both(|db| async move {
        let w = World::new(db).await;
        w.cluster("two", None).await;
        let a = w.node("main").await;
        alias::create(&w.app, &w.admin, &a, "web").await.unwrap();
        let key = w.key("main", Some(1), None).await;
        w.enroll(&key, a.as_str(), 7).await.unwrap();
        assert_eq!(names(&w, &a).await, ["web"]);
        let key = w.key("two", Some(1), None).await;
        w.enroll(&key, a.as_str(), 7).await.unwrap();
        assert!(names(&w, &a).await.is_empty());
    })
    .await;
}
