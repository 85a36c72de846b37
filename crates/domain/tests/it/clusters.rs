//! Clusters, their ranges and limits, and what becomes of nodes.

use std::collections::BTreeMap;

use reeve_domain::{cluster, node};
use reeve_testkit::db::on_both;
use reeve_types::{ErrorKind, Patch};

use crate::world::World;

fn named(name: &str, range: Option<&str>) -> cluster::Create {
    cluster::Create { name: name.into(), ipv4_range: range.map(str::to_owned), node_limit: None }
}

#[tokio::test]
async fn ranges_come_from_the_pool_and_never_overlap() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let a = cluster::create(&w.app, &w.admin, named("a", None)).await.unwrap();
        assert_eq!(a.cluster.ipv4_range, "100.65.0.0/24", "`main` is the default cluster and has 100.64.0.0/16");
        let error = cluster::create(&w.app, &w.admin, named("b", Some("100.64.0.0/15"))).await.unwrap_err();
        assert_eq!(error.message, "100.64.0.0/15 overlaps with an existing cluster range");
        let error = cluster::create(&w.app, &w.admin, named("a", None)).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Conflict, "name has already been taken"));
        let error = cluster::create(&w.app, &w.admin, named("default", None)).await.unwrap_err();
        assert_eq!(error.details["name"], ["is reserved"]);
    })
    .await;
}

#[tokio::test]
async fn a_node_limit_gets_the_range_that_it_needs() {
    on_both(|db| async move {
        let w = World::new(db).await;
        for (name, node_limit, prefix) in
            [("small", Some(3), "/24"), ("large", Some(1_000), "/22"), ("open", None, "/24")]
        {
            let made =
                cluster::create(&w.app, &w.admin, cluster::Create { node_limit, ..named(name, None) }).await.unwrap();
            assert!(made.cluster.ipv4_range.ends_with(prefix), "{name}: {}", made.cluster.ipv4_range);
        }
        let endless = cluster::Create { node_limit: Some(i64::MAX), ..named("endless", None) };
        let error = cluster::create(&w.app, &w.admin, endless).await.unwrap_err();
        assert!(error.details["node_limit"][0].starts_with("needs a range of /0"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_place_is_given_back_once() {
    on_both(|db| async move {
        let w = World::new(db).await;
        w.cluster("two", None).await;
        let id = w.node("two").await;
        let (first, second, third) = tokio::join!(
            node::delete(&w.app, &w.admin, &id),
            node::delete(&w.app, &w.admin, &id),
            node::delete(&w.app, &w.admin, &id),
        );
        let kinds: Vec<_> = [first, second, third].into_iter().filter_map(|r| r.err().map(|e| e.kind)).collect();
        assert_eq!(kinds, [ErrorKind::NotFound, ErrorKind::NotFound]);
        assert_eq!(cluster::get(&w.app, &w.admin, "two").await.unwrap().cluster.node_count, 0);
        cluster::delete(&w.app, &w.admin, "two").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn labels_that_are_set_at_once_are_all_kept() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let set = |key: &str| {
            node::set_labels(&w.app, &w.admin, &id, BTreeMap::from([(key.to_owned(), Some("1".to_owned()))]))
        };
        let (a, b, c) = tokio::join!(set("a"), set("b"), set("c"));
        for result in [a, b, c] {
            result.unwrap();
        }
        let labels = node::get(&w.app, &w.admin, &id).await.unwrap().node.labels;
        assert_eq!(labels.into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    })
    .await;
}

#[tokio::test]
async fn a_cluster_with_nodes_stays() {
    on_both(|db| async move {
        let w = World::new(db).await;
        w.cluster("two", None).await;
        let id = w.node("two").await;
        let error = cluster::delete(&w.app, &w.admin, "two").await.unwrap_err();
        assert_eq!(error.message, "cannot delete cluster with 1 node(s) - remove all nodes first");
        let error = cluster::update(&w.app, &w.admin, "two", Patch::Set(0)).await.unwrap_err();
        assert_eq!(error.details["node_limit"], ["cannot be less than current node count (1)"]);
        node::change_cluster(&w.app, &w.admin, &id, "main").await.unwrap();
        let error = node::change_cluster(&w.app, &w.admin, &id, "main").await.unwrap_err();
        assert_eq!(error.message, "node is already in this cluster");
        cluster::delete(&w.app, &w.admin, "two").await.unwrap();
        assert_eq!(cluster::get(&w.app, &w.admin, "main").await.unwrap().cluster.node_count, 1);
    })
    .await;
}

#[tokio::test]
async fn labels_are_merged_and_checked() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let change = |pairs: &[(&str, Option<&str>)]| -> BTreeMap<String, Option<String>> {
            pairs.iter().map(|(k, v)| (k.to_string(), v.map(str::to_owned))).collect()
        };
        node::set_labels(&w.app, &w.admin, &id, change(&[("env", Some("prod")), ("old", Some("1"))])).await.unwrap();
        let seen = node::set_labels(&w.app, &w.admin, &id, change(&[("old", None)])).await.unwrap();
        assert_eq!(seen.node.labels.into_iter().collect::<Vec<_>>(), [("env".to_owned(), "prod".to_owned())]);
        let error = node::set_labels(&w.app, &w.admin, &id, change(&[("-x", Some("1"))])).await.unwrap_err();
        assert!(error.details.contains_key("labels/-x"));
    })
    .await;
}
