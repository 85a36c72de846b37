//! Lists: pages in every order, and the numbers that triggers keep.

use std::collections::BTreeMap;

use reeve_store::{Store, Tx, Value, args, execution, node};
use reeve_testkit::db::on_both;
use reeve_types::execution::{ExecutionFilter, ExecutionStatus};
use reeve_types::node::NodeFilter;
use reeve_types::{Page, Range, Sort, TextMatch, Timestamp};

const NODES: usize = 30;

/// Thirty nodes with an execution each, a few without an end.
async fn seed(store: &Store) {
    seed_of(store, NODES as i64).await;
}

async fn seed_of(store: &Store, count: i64) {
    let mut tx = store.begin().await.unwrap();
    tx.execute(
        "INSERT INTO clusters (id, name, ipv4_range, ipv4_first, ipv4_last, inserted_at, updated_at)
         VALUES ('c', 'c', '100.64.0.0/24', 1, 2, 0, 0)",
        &[],
    )
    .await
    .unwrap();
    tx.execute(
        "INSERT INTO commands (id, command_text, targeting, plan, target_all, created_by, fanned_out, inserted_at, updated_at)
         VALUES ('m', 'true', '{}', '{}', 1, 'system', 1, 0, 0)",
        &[],
    )
    .await
    .unwrap();
    let (mut nodes, mut executions) = (Vec::new(), Vec::new());
    for i in 0..count {
        let id = format!("n{i:02}");
        let mut row: Vec<Value<'_>> = vec![id.clone().into(), "c".into(), "random".into(), "healthy".into()];
        row.extend((0..6).map(Value::from));
        row.extend([0.into(), "".into(), "".into(), id.clone().into(), "".into(), Value::from(i / 3), i.into()]);
        nodes.push(row);
        let status = if i % 5 == 0 { ExecutionStatus::Pending } else { ExecutionStatus::Completed };
        let ended = (i % 5 != 0).then_some(i % 7);
        executions.push(vec![
            format!("e{i:02}").into(),
            "m".into(),
            id.into(),
            1.into(),
            status.into(),
            Value::from(ended),
            Value::from(ended),
            Value::from(i / 4),
            i.into(),
        ]);
    }
    let into = "nodes (id, cluster_id, id_type, status, http_port, ssh_port, host_metrics_port, wireguard_metrics_port,
        http_proxy_port, socks5_proxy_port, self_update_enabled, public_key, api_token_sealed, api_token_hash,
        proxy_password_sealed, inserted_at, updated_at)";
    tx.insert_many(into, &nodes, "").await.unwrap();
    let into =
        "executions (id, command_id, node_id, target_all, status, completed_at, exit_code, inserted_at, updated_at)";
    tx.insert_many(into, &executions, "").await.unwrap();
    tx.commit().await.unwrap();
}

fn sort(field: &str, descending: bool) -> Vec<Sort> {
    vec![Sort { field: field.to_owned(), descending }]
}

/// Every page of `size`, one after the other.
async fn ids(tx: &mut Tx, filter: &ExecutionFilter, sorts: &[Sort], size: u64) -> (Vec<String>, u64) {
    let (mut found, mut total) = (Vec::new(), 0);
    for number in 1.. {
        let page = execution::list(tx, filter, sorts, Page { number, size }).await.unwrap();
        total = page.total;
        if page.items.is_empty() {
            break;
        }
        assert!(page.items.len() as u64 <= size);
        found.extend(page.items.into_iter().map(|e| e.id.0));
    }
    (found, total)
}

#[tokio::test]
async fn pages_of_any_size_follow_one_order_with_nulls_last_going_up() {
    on_both(|db| async move {
        seed(&db.store).await;
        let mut tx = db.store.read().await.unwrap();
        // What sorting by hand gives: NULLs last, the id breaks ties.
        let mut expected: Vec<(bool, i64, String)> =
            (0..NODES as i64).map(|i| (i % 5 == 0, if i % 5 == 0 { 0 } else { i % 7 }, format!("e{i:02}"))).collect();
        expected.sort();
        let mut expected: Vec<String> = expected.into_iter().map(|(_, _, id)| id).collect();
        for descending in [false, true] {
            if descending {
                expected.reverse();
            }
            for size in [1, 4, 7, 30, 100] {
                let sorts = sort("completed_at", descending);
                let (found, total) = ids(&mut tx, &ExecutionFilter::default(), &sorts, size).await;
                assert_eq!((found.as_slice(), total), (expected.as_slice(), NODES as u64), "{size} {descending}");
            }
        }
        let newest: Vec<String> = (0..NODES).rev().map(|i| format!("e{i:02}")).collect();
        assert_eq!(ids(&mut tx, &ExecutionFilter::default(), &[], 8).await, (newest, NODES as u64));
        let beyond = Page { number: u64::MAX, size: 100 };
        let page = execution::list(&mut tx, &ExecutionFilter::default(), &[], beyond).await.unwrap();
        assert_eq!((page.items.len(), page.total), (0, NODES as u64));
    })
    .await;
}

#[tokio::test]
async fn filters_and_sorts_combine() {
    on_both(|db| async move {
        seed(&db.store).await;
        let mut tx = db.store.read().await.unwrap();
        let completed = ExecutionFilter { status: vec![ExecutionStatus::Completed], ..ExecutionFilter::default() };
        let (by_end, total) = ids(&mut tx, &completed, &sort("completed_at", true), 5).await;
        assert_eq!((by_end.len(), total), (24, 24));
        assert_eq!(by_end[..4], ["e27", "e13", "e06", "e26"]);
        let both = vec![ExecutionStatus::Completed, ExecutionStatus::Pending];
        let both = ExecutionFilter { status: both, ..ExecutionFilter::default() };
        assert_eq!(ids(&mut tx, &both, &sort("status", false), 9).await.1, 30);
        let one = Range { gte: Some(3), lte: Some(3) };
        let exit = ExecutionFilter { exit_code: one, ..ExecutionFilter::default() };
        assert_eq!(ids(&mut tx, &exit, &[], 2).await, (vec!["e24".into(), "e17".into(), "e03".into()], 3));
        let cluster = Some(TextMatch::Wildcard("C".into()));
        let named = ExecutionFilter { cluster_name: cluster, ..ExecutionFilter::default() };
        assert_eq!(ids(&mut tx, &named, &sort("updated_at", false), 11).await.1, 30);
        for field in ["last_seen_at", "version", "status", "inserted_at", "updated_at", "id_type"] {
            let page = Page { number: 3, size: 10 };
            let found = node::list(&mut tx, &NodeFilter::default(), &sort(field, false), page).await.unwrap();
            assert_eq!((found.items.len(), found.total), (10, 30), "{field}");
            assert_eq!(found.items[9].0.id.0, "n29", "{field}");
        }
    })
    .await;
}

/// What the triggers say and what counting says, by status.
async fn counts(store: &Store) -> (BTreeMap<String, i64>, BTreeMap<String, i64>) {
    let mut tx = store.read().await.unwrap();
    let mut read = async |sql: &str| {
        let rows = tx.all(sql, &[]).await.unwrap();
        rows.into_iter().map(|mut row| (row.get().unwrap(), row.get().unwrap())).collect()
    };
    let kept =
        read("SELECT status, CAST(sum(n) AS BIGINT) FROM execution_counts GROUP BY status HAVING sum(n) <> 0").await;
    let counted = read("SELECT status, count(*) FROM executions WHERE node_id IS NOT NULL GROUP BY status").await;
    (kept, counted)
}

#[tokio::test]
async fn the_kept_numbers_of_executions_are_right_after_every_kind_of_change() {
    on_both(|db| async move {
        seed(&db.store).await;
        for sql in [
            "UPDATE executions SET updated_at = 9",
            "UPDATE executions SET status = 'sent' WHERE id IN ('e00', 'e05', 'e10')",
            "UPDATE executions SET status = 'sent' WHERE id = 'e00'",
            "UPDATE executions SET status = 'completed', exit_code = 1 WHERE id = 'e05'",
            "UPDATE executions SET status = 'cancelled' WHERE id = 'nobody'",
            "DELETE FROM executions WHERE id IN ('e01', 'e02', 'e10')",
            "DELETE FROM nodes WHERE id IN ('n03', 'n15', 'n05')",
            "UPDATE executions SET status = 'expired' WHERE id = 'e15'",
            "DELETE FROM executions WHERE node_id IS NULL",
            "DELETE FROM commands WHERE id = 'm'",
        ] {
            let mut tx = db.store.begin().await.unwrap();
            tx.execute(sql, args![]).await.unwrap();
            tx.commit().await.unwrap();
            let (kept, counted) = counts(&db.store).await;
            assert_eq!(kept, counted, "after {sql}");
        }
        let mut tx = db.store.begin().await.unwrap();
        tx.execute("UPDATE settings SET updated_at = $1", args![Timestamp(1)]).await.unwrap();
        let list = execution::list(&mut tx, &ExecutionFilter::default(), &[], Page::default()).await.unwrap();
        assert_eq!((list.total, list.items.len()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn each_cluster_shows_its_first_nodes() {
    on_both(|db| async move {
        seed(&db.store).await;
        let mut tx = db.store.begin().await.unwrap();
        tx.execute(
            "INSERT INTO clusters (id, name, ipv4_range, ipv4_first, ipv4_last, inserted_at, updated_at)
             VALUES ('a', 'a', '100.65.0.0/24', 3, 4, 0, 0), ('empty', 'empty', '100.66.0.0/24', 5, 6, 0, 0)",
            &[],
        )
        .await
        .unwrap();
        tx.execute("UPDATE nodes SET cluster_id = 'a' WHERE id IN ('n29', 'n05')", &[]).await.unwrap();
        let shown = async |tx: &mut Tx, clusters: &[&str], most| {
            let clusters: Vec<_> = clusters.iter().map(|id| (*id).into()).collect();
            let found = node::summaries(tx, &clusters, most).await.unwrap();
            found.into_iter().map(|n| format!("{}/{}", n.cluster_id, n.id)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(&mut tx, &["c", "empty", "a"], 3).await, "a/n05 a/n29 c/n00 c/n01 c/n02");
        assert_eq!(shown(&mut tx, &["c"], 2).await, "c/n00 c/n01");
        assert_eq!(shown(&mut tx, &["c", "a"], 100).await.split(' ').count(), NODES);
        assert_eq!(shown(&mut tx, &[], 3).await, "");
    })
    .await;
}

/// More than are collected and sorted: lists of much and of little take different ways and have to agree.
#[tokio::test]
async fn much_and_little_of_a_fleet_are_listed_alike() {
    const MANY: i64 = 5_200;
    on_both(|db| async move {
        seed_of(&db.store, MANY).await;
        let mut tx = db.store.begin().await.unwrap();
        for sql in [
            "INSERT INTO clusters (id, name, ipv4_range, ipv4_first, ipv4_last, inserted_at, updated_at)
             VALUES ('d', 'Delta', '100.65.0.0/24', 3, 4, 0, 0)",
            "UPDATE nodes SET version = '1.0.0'",
            "UPDATE nodes SET cluster_id = 'd', version = '1.2.0' WHERE id IN ('n05', 'n06', 'n2601', 'n5199')",
            "UPDATE nodes SET version = NULL WHERE id = 'n07'",
        ] {
            tx.execute(sql, &[]).await.unwrap();
        }
        let delta = [5, 6, 2601, 5199];
        let newest = |keep: &dyn Fn(i64) -> bool, step: i64, letter: &str| -> Vec<String> {
            let mut kept: Vec<_> =
                (0..MANY).filter(|i| keep(*i)).map(|i| (i / step, format!("{letter}{i:02}"))).collect();
            kept.sort();
            kept.into_iter().rev().map(|(_, id)| id).collect()
        };
        let exact = |name: &str| TextMatch::Exact(name.into());
        let wildcard = |name: &str| TextMatch::Wildcard(name.into());
        let any_of = |names: &[&str]| TextMatch::AnyOf(names.iter().map(|name| (*name).to_owned()).collect());
        let pages = [1, 2, 370, 740, 743, 900];

        let clusters: [(TextMatch, &dyn Fn(i64) -> bool); 6] = [
            (exact("c"), &|i| !delta.contains(&i)),
            (exact("Delta"), &|i| delta.contains(&i)),
            (wildcard("*"), &|_| true),
            (wildcard("de*"), &|i| delta.contains(&i)),
            (any_of(&["c", "Delta", "nobody"]), &|_| true),
            (exact("nobody"), &|_| false),
        ];
        for (cluster, keep) in clusters {
            for status in [vec![], vec![ExecutionStatus::Pending]] {
                let expected = newest(&|i| keep(i) && (status.is_empty() || i % 5 == 0), 4, "e");
                let cluster_name = Some(cluster.clone());
                let filter = ExecutionFilter { cluster_name, status, ..ExecutionFilter::default() };
                for number in pages {
                    let page = execution::list(&mut tx, &filter, &[], Page { number, size: 7 }).await.unwrap();
                    assert_eq!(page.total as usize, expected.len(), "{filter:?}");
                    let found: Vec<String> = page.items.into_iter().map(|e| e.id.0).collect();
                    let skipped = expected.iter().skip((number as usize - 1) * 7).take(7);
                    assert_eq!(found.iter().collect::<Vec<_>>(), skipped.collect::<Vec<_>>(), "{filter:?} {number}");
                }
            }
        }
        let versions: [(TextMatch, &dyn Fn(i64) -> bool); 6] = [
            (wildcard("1.*"), &|i| i != 7),
            (wildcard("*.2.*"), &|i| delta.contains(&i)),
            (exact("1.0.0"), &|i| i != 7 && !delta.contains(&i)),
            (exact("1.2.0"), &|i| delta.contains(&i)),
            (any_of(&["1.2.0", "1.0.0"]), &|i| i != 7),
            (wildcard("2.*"), &|_| false),
        ];
        for (version, keep) in versions {
            let expected = newest(keep, 3, "n");
            let filter = NodeFilter { version: Some(version), ..NodeFilter::default() };
            for number in pages {
                let page = node::list(&mut tx, &filter, &[], Page { number, size: 7 }).await.unwrap();
                assert_eq!(page.total as usize, expected.len(), "{filter:?}");
                let found: Vec<String> = page.items.into_iter().map(|(node, _)| node.id.0).collect();
                let skipped = expected.iter().skip((number as usize - 1) * 7).take(7);
                assert_eq!(found.iter().collect::<Vec<_>>(), skipped.collect::<Vec<_>>(), "{filter:?} {number}");
            }
        }
    })
    .await;
}
