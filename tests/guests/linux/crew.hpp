// SPDX-License-Identifier: MIT
//
// The threads of a stress run: each on one processor, each under a name, until the run is over.  A thread that does not
// come to its end then waits for a wake-up or a timer that was lost.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>

namespace stress {

class Crew {
public:
    // Starts `work` on the processor (counted from 0 modulo those there are); it ends soon after over() is true.
    void start(std::string name, unsigned processor, std::function<void()> work);

    // Lets the calling thread give way to those that did not call this.
    static void give_way();

    // Processors that this process may run on.
    static unsigned processors();

    bool over() const { return over_.load(std::memory_order_relaxed); }

    // Lets the run be over and waits for the threads, `patience` seconds at most; the names of those that did not end.
    std::string end(unsigned patience);

private:
    struct Member {
        std::string name;
        std::atomic<bool> ended{false};
        std::thread thread;
    };

    std::atomic<bool> over_{false};
    std::deque<Member> members_;  // never moved: threads refer to theirs
};

}  // namespace stress
