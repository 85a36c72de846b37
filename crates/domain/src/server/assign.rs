//! Which server an edge cluster is assigned to: a function of the members, the clusters and the assignment before. No
//! clock, no store.

use std::cmp::{Ordering, Reverse};

use reeve_types::ServerId;
use reeve_types::cluster::network_name;
use reeve_types::server::server_name;
use sha2::{Digest, Sha256};

/// A server that can be given clusters.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Who.
    pub id: &'a ServerId,
    /// Nodes it has room for.
    pub capacity: i64,
}

/// A cluster to be given to somebody.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its nodes.
    pub nodes: i64,
    /// Whose it is so far.
    pub owner: Option<&'a ServerId>,
}

/// Nodes that a server has room for: the peers it may have less the servers among them.
pub fn capacity(max_peers: i64, servers: i64) -> i64 {
    (max_peers - (servers - 1).max(0)).max(0)
}

/// For each load the index of its member, None for an orphan: no member has room for it.
///
/// The largest cluster goes first, and each to a member that has room for all of it: to the one with the fewest clusters,
/// then to the one with the most room left, then to the one that has it already. What is still even is decided by a hash
/// of both names, so that every server decides alike and nobody is preferred.
pub fn assign(members: &[Member<'_>], loads: &[Load<'_>]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..loads.len()).collect();
    order.sort_by_key(|&i| (Reverse(loads[i].nodes), loads[i].name));
    let mut bins = vec![Bin::default(); members.len()];
    let mut assigned = vec![None; loads.len()];
    for i in order {
        let load = &loads[i];
        let with_room = (0..members.len()).filter(|&m| bins[m].nodes + load.nodes <= members[m].capacity);
        let best = with_room.min_by(|&a, &b| compare(load, (&members[a], bins[a]), (&members[b], bins[b])));
        if let Some(m) = best {
            bins[m].nodes += load.nodes;
            bins[m].clusters += 1;
        }
        assigned[i] = best;
    }
    assigned
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    clusters: usize,
    nodes: i64,
}

fn compare(load: &Load<'_>, (a, in_a): (&Member<'_>, Bin), (b, in_b): (&Member<'_>, Bin)) -> Ordering {
    let key = |member: &Member<'_>, bin: Bin| {
        (bin.clusters, Reverse(member.capacity - bin.nodes), load.owner != Some(member.id))
    };
    // Hashed only when all else is even, which is rare: there may be many thousand clusters.
    key(a, in_a)
        .cmp(&key(b, in_b))
        .then_with(|| draw(load.name, a.id).cmp(&draw(load.name, b.id)))
        .then_with(|| a.id.cmp(b.id))
}

fn draw(cluster: &str, server: &ServerId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(network_name(cluster));
    hash.update([0]);
    hash.update(server_name(server));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `assign` on servers `(id, capacity)` and clusters `(name, nodes, owner)`; the answer as `name:server`.
    fn played(servers: &[(&str, i64)], clusters: &[(&str, i64, &str)]) -> String {
        let ids: Vec<ServerId> = servers.iter().map(|(id, _)| ServerId::from(*id)).collect();
        let owners: Vec<ServerId> = clusters.iter().map(|(_, _, owner)| ServerId::from(*owner)).collect();
        let members: Vec<Member<'_>> =
            ids.iter().zip(servers).map(|(id, (_, capacity))| Member { id, capacity: *capacity }).collect();
        let loads: Vec<Load<'_>> = clusters
            .iter()
            .zip(&owners)
            .map(|((name, nodes, _), owner)| Load { name, nodes: *nodes, owner: Some(owner) })
            .collect();
        let shown = |(i, m): (usize, Option<usize>)| format!("{}:{}", clusters[i].0, m.map_or("-", |m| servers[m].0));
        assign(&members, &loads).into_iter().enumerate().map(shown).collect::<Vec<_>>().join(" ")
    }

    /// What it shows, servers, clusters, and the answer.
    type Case =
        (&'static str, &'static [(&'static str, i64)], &'static [(&'static str, i64, &'static str)], &'static str);

    #[test]
    fn assignments_as_in_the_table() {
        let table: [Case; 12] = [
            ("nobody there", &[], &[("c", 1, "")], "c:-"),
            ("nothing to do", &[("a", 5)], &[], ""),
            ("one takes all", &[("a", 5)], &[("c", 2, ""), ("d", 3, "")], "c:a d:a"),
            ("an empty cluster needs no room", &[("a", 0)], &[("c", 0, "")], "c:a"),
            ("too large for anybody", &[("a", 5), ("b", 4)], &[("c", 6, "")], "c:-"),
            ("exactly full", &[("a", 5)], &[("c", 5, ""), ("d", 0, "")], "c:a d:a"),
            (
                "packing fails although there is room in sum",
                &[("a", 3), ("b", 3)],
                &[("c", 2, "a"), ("d", 2, "b"), ("e", 2, "")],
                "c:a d:b e:-",
            ),
            (
                "the largest first, each to the one with fewer clusters",
                &[("a", 9), ("b", 9)],
                &[("c", 1, "a"), ("d", 5, "a"), ("e", 2, "a")],
                "c:b d:a e:b",
            ),
            ("more room left wins among even numbers of clusters", &[("a", 10), ("b", 20)], &[("c", 5, "a")], "c:b"),
            ("who has it keeps it", &[("a", 9), ("b", 9)], &[("c", 2, "b"), ("d", 2, "a")], "c:b d:a"),
            ("a smaller one fits where a larger did not", &[("a", 4)], &[("c", 5, ""), ("d", 4, "")], "c:- d:a"),
            ("who is gone leaves its clusters to the others", &[("b", 9)], &[("c", 2, "a"), ("d", 2, "b")], "c:b d:b"),
        ];
        for (what, servers, clusters, expected) in table {
            assert_eq!(played(servers, clusters), expected, "{what}");
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter() {
        let servers = [("a", 50), ("b", 50), ("c", 50)];
        let mut clusters: Vec<(String, i64)> = (0..40).map(|i| (format!("c{i}"), i % 7)).collect();
        let answer = |clusters: &[(String, i64)]| {
            let rows: Vec<(&str, i64, &str)> = clusters.iter().map(|(n, c)| (n.as_str(), *c, "")).collect();
            let mut words: Vec<String> = played(&servers, &rows).split(' ').map(str::to_owned).collect();
            words.sort();
            words
        };
        let first = answer(&clusters);
        clusters.reverse();
        assert_eq!(answer(&clusters), first);
    }

    #[test]
    fn a_second_look_moves_nothing() {
        let servers: Vec<(String, i64)> = (0..5).map(|i| (format!("s{i}"), 100 + i * 7)).collect();
        let servers: Vec<(&str, i64)> = servers.iter().map(|(id, c)| (id.as_str(), *c)).collect();
        let clusters: Vec<(String, i64)> = (0..60).map(|i| (format!("c{i}"), (i * 37) % 11)).collect();
        let mut owners = vec![String::new(); clusters.len()];
        let mut before = String::new();
        for round in 0..3 {
            let rows: Vec<(&str, i64, &str)> =
                clusters.iter().zip(&owners).map(|((n, c), o)| (n.as_str(), *c, o.as_str())).collect();
            let now = played(&servers, &rows);
            if round > 0 {
                assert_eq!(now, before, "round {round}");
            }
            let owner = |word: &str| word.split(':').next_back().unwrap_or_default().to_owned();
            owners = now.split(' ').map(owner).collect();
            before = now;
        }
    }

    #[test]
    fn no_server_is_over_its_room() {
        let servers = [("a", 13), ("b", 7), ("c", 29)];
        let clusters: Vec<(String, i64)> = (0..30).map(|i| (format!("c{i}"), (i * 5) % 8)).collect();
        let rows: Vec<(&str, i64, &str)> = clusters.iter().map(|(n, c)| (n.as_str(), *c, "")).collect();
        let answer = played(&servers, &rows);
        for (id, capacity) in servers {
            let of_server = answer.split(' ').zip(&clusters).filter(|(word, _)| word.ends_with(&format!(":{id}")));
            assert!(of_server.map(|(_, (_, nodes))| nodes).sum::<i64>() <= capacity, "{id}: {answer}");
        }
    }

    #[test]
    fn peers_take_room() {
        assert_eq!([capacity(250, 1), capacity(250, 2), capacity(2, 5), capacity(0, 0)], [250, 249, 0, 0]);
    }
}
