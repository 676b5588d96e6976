// SPDX-License-Identifier: MIT
//
// A doubly linked list whose links live in the elements: linking never allocates and never fails.  An element is on at
// most one list per ListNode member; it must be unlinked before it dies.
#pragma once

#include "hv/base/assert.hpp"

namespace hv {

/// The links of one element on one list.
struct ListNode {
    ListNode* previous{};
    ListNode* next{};

    constexpr ListNode() = default;
    ListNode(const ListNode&) = delete;
    ListNode& operator=(const ListNode&) = delete;

    [[nodiscard]] bool linked() const { return next != nullptr; }
};

/// A list of T through its base ListNode (T derives from ListNode, or from a tagged class that does).
template <typename T, typename Node = ListNode>
class IntrusiveList {
public:
    IntrusiveList() { head_.previous = head_.next = &head_; }
    IntrusiveList(const IntrusiveList&) = delete;
    IntrusiveList& operator=(const IntrusiveList&) = delete;

    class Iterator {
    public:
        explicit Iterator(ListNode* node) : node_{node} {}
        T& operator*() const { return element(node_); }
        T* operator->() const { return &element(node_); }
        Iterator& operator++()
        {
            node_ = node_->next;
            return *this;
        }
        friend bool operator==(Iterator, Iterator) = default;

    private:
        ListNode* node_;
    };

    [[nodiscard]] Iterator begin() { return Iterator{head_.next}; }
    [[nodiscard]] Iterator end() { return Iterator{&head_}; }
    [[nodiscard]] bool empty() const { return head_.next == &head_; }
    [[nodiscard]] T& front()
    {
        HV_ASSERT(!empty());
        return element(head_.next);
    }

    void push_back(T& item) { link_before(head_, static_cast<Node&>(item)); }
    void push_front(T& item) { link_before(*head_.next, static_cast<Node&>(item)); }
    /// Links `item` directly before `position`, which is on this list.
    void insert_before(T& position, T& item) { link_before(static_cast<Node&>(position), static_cast<Node&>(item)); }

    static void remove(T& item)
    {
        ListNode& node = static_cast<Node&>(item);
        HV_ASSERT(node.linked());
        node.previous->next = node.next;
        node.next->previous = node.previous;
        node.previous = node.next = nullptr;
    }

    T& pop_front()
    {
        T& item = front();
        remove(item);
        return item;
    }

private:
    static T& element(ListNode* node) { return static_cast<T&>(static_cast<Node&>(*node)); }
    static void link_before(ListNode& position, ListNode& node)
    {
        HV_ASSERT(!node.linked());
        node.previous = position.previous;
        node.next = &position;
        position.previous->next = &node;
        position.previous = &node;
    }

    ListNode head_{};
};

}  // namespace hv
