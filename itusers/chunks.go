package itusers

import "github.com/idbridge/idbridge/authn"

// chunkSize is how many users one transaction changes: on SQLite a sign-in may wait for it, some milliseconds at most.
const chunkSize = 50

// chunks cuts changes into transactions. Users who exchange names or ids stay together.
func chunks(changes []SyncChange) (list [][]SyncChange) {
	var chunk []SyncChange
	for _, group := range components(changes) {
		if len(chunk) > 0 && len(chunk)+len(group) > chunkSize {
			list = append(list, chunk)
			chunk = nil
		}
		chunk = append(chunk, group...)
	}
	if len(chunk) > 0 {
		list = append(list, chunk)
	}
	return list
}

// components groups changes that depend on each other: one needs a name or an id that another one gives up.
func components(changes []SyncChange) (list [][]SyncChange) {
	parent := make([]int, len(changes))
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	holder := map[claim]int{}
	for i, c := range changes {
		parent[i] = i
		for _, claim := range c.moved() {
			if other, ok := holder[claim]; ok {
				parent[root(i)] = root(other)
			} else {
				holder[claim] = i
			}
		}
	}
	at := map[int]int{} // root → place in list
	for i, c := range changes {
		r := root(i)
		place, ok := at[r]
		if !ok {
			place = len(list)
			at[r] = place
			list = append(list, nil)
		}
		list[place] = append(list[place], c)
	}
	return list
}

// moved are the names and ids that a change gives up or takes.
func (c SyncChange) moved() (list []claim) {
	before, after := map[claim]bool{}, map[claim]bool{}
	if c.Before.Key != "" {
		for _, x := range c.Before.claims() {
			before[x] = true
		}
	}
	for _, x := range c.After.claims() {
		after[x] = true
		if !before[x] {
			list = append(list, x)
		}
	}
	for x := range before {
		if !after[x] {
			list = append(list, x)
		}
	}
	return list
}

// Taken are the names and ids that a change takes, for the store to look whether they are free.
func (c SyncChange) Taken() (name string, ids map[string]int32) {
	if c.Before.Key == "" || authn.FoldName(c.Before.Username) != authn.FoldName(c.After.Username) {
		name = authn.FoldName(c.After.Username)
	}
	for environment, id := range c.After.IDs {
		if c.Before.IDs[environment] != id {
			if ids == nil {
				ids = map[string]int32{}
			}
			ids[environment] = id
		}
	}
	return name, ids
}
