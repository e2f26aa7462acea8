/* SPDX-License-Identifier: Apache-2.0 */
/* Pointer chasing: a random cycle, a linked list that is sorted by merging, a binary tree. */
#include "bench.h"
typedef struct Node Node;
struct Node { Node *left, *right; uint64_t key; };
enum { N = 100000 };
static Node nodes[N];
static uint32_t next[1 << 16];

static Node *merge(Node *a, Node *b) {
    Node head, *tail = &head;
    while (a && b) {
        Node **least = a->key <= b->key ? &a : &b;
        tail = tail->right = *least;
        *least = (*least)->right;
    }
    tail->right = a ? a : b;
    return head.right;
}
static Node *sort(Node *list, long n) {
    if (n < 2) return list;
    Node *half = list;
    for (long i = 1; i < n / 2; i++) half = half->right;
    Node *rest = half->right;
    half->right = NULL;
    return merge(sort(list, n / 2), sort(rest, n - n / 2));
}
int main(void) {
    uint64_t sum = 0;
    for (int i = 0; i < 1 << 16; i++) next[i] = i;
    for (int i = (1 << 16) - 1; i > 0; i--) { /* one cycle through all */
        int j = bench_random() % i;
        uint32_t t = next[i];
        next[i] = next[j];
        next[j] = t;
    }
    uint32_t at = 0;
    for (int i = 0; i < 15000000; i++) sum += at = next[at];
    for (int i = 0; i < N; i++) nodes[i] = (Node){NULL, i + 1 < N ? &nodes[i + 1] : NULL, bench_random()};
    for (Node *n = sort(nodes, N); n; n = n->right) sum = sum * 31 + n->key;
    Node *root = NULL;
    for (int i = 0; i < N; i++) {
        nodes[i] = (Node){NULL, NULL, bench_random() >> 20};
        Node **where = &root;
        while (*where) where = nodes[i].key < (*where)->key ? &(*where)->left : &(*where)->right;
        *where = &nodes[i];
    }
    for (int i = 0; i < N; i++) {
        uint64_t key = bench_random() >> 20;
        for (Node *n = root; n; n = key < n->key ? n->left : n->right) sum += n->key & 1;
    }
    printf("%llx\n", (unsigned long long)sum);
    return 0;
}
