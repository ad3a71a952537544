//! Low-level codes: the deepest level at which an item occurs in any bill of materials.

/// A bill of materials: for each item (by number) its components.
pub type Bom<T> = [Vec<(u32, T)>];

/// The low-level code of each item, end items 0. `Err` has the items of a circle, parent before component.
pub fn levels<T>(bom: &Bom<T>) -> Result<Vec<u32>, Vec<u32>> {
    let mut parents_left = vec![0_u32; bom.len()];
    for (component, _) in bom.iter().flatten() {
        parents_left[*component as usize] += 1;
    }
    let mut level = vec![0_u32; bom.len()];
    let mut ready: Vec<usize> = (0..bom.len()).filter(|item| parents_left[*item] == 0).collect();
    let mut done = 0;
    while let Some(item) = ready.pop() {
        done += 1;
        for (component, _) in &bom[item] {
            let component = *component as usize;
            level[component] = level[component].max(level[item] + 1);
            parents_left[component] -= 1;
            if parents_left[component] == 0 {
                ready.push(component);
            }
        }
    }
    if done == bom.len() { Ok(level) } else { Err(circle(bom, &parents_left)) }
}

/// One circle among the items that still wait for a parent: each of them has a parent among them, so going upwards must come round.
fn circle<T>(bom: &Bom<T>, parents_left: &[u32]) -> Vec<u32> {
    let waiting = |item: usize| parents_left[item] > 0;
    let mut parent = vec![usize::MAX; bom.len()];
    for item in (0..bom.len()).filter(|item| waiting(*item)) {
        for (component, _) in &bom[item] {
            parent[*component as usize] = parent[*component as usize].min(item);
        }
    }
    let Some(mut at) = (0..bom.len()).find(|item| waiting(*item)) else { return Vec::new() };
    let mut seen = vec![false; bom.len()];
    while !seen[at] {
        seen[at] = true;
        at = parent[at];
    }
    let mut items = vec![at as u32];
    let mut above = parent[at];
    while above != at {
        items.push(above as u32);
        above = parent[above];
    }
    items.reverse();
    let first = items.iter().enumerate().min_by_key(|(_, item)| **item).map_or(0, |(index, _)| index);
    items.rotate_left(first);
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bom(edges: &[(u32, u32)], items: usize) -> Vec<Vec<(u32, ())>> {
        let mut bom = vec![Vec::new(); items];
        edges.iter().for_each(|(item, component)| bom[*item as usize].push((*component, ())));
        bom
    }

    #[test]
    fn the_deepest_level_counts() {
        // 3 is a component of 0 directly and through 1 and 2
        assert_eq!(levels(&bom(&[(0, 3), (0, 1), (1, 2), (2, 3)], 5)), Ok(vec![0, 1, 2, 3, 0]));
    }

    #[test]
    fn circles_are_named() {
        // 0 > 2 > 3 > 1 > 2, and 4 hangs below the circle
        assert_eq!(levels(&bom(&[(0, 2), (2, 3), (3, 1), (1, 2), (3, 4)], 5)), Err(vec![1, 2, 3]));
        assert_eq!(levels(&bom(&[(1, 1)], 2)), Err(vec![1]));
    }
}
