/* Linked into static programs only. Any other name service than these two would be a library of the system's own C
 * library, loaded into a program that holds another one: it may crash. So nothing else is asked, whatever
 * /etc/nsswitch.conf says. */
#include <nss.h>

__attribute__((constructor)) static void ask_only_what_is_built_in(void) {
  __nss_configure_lookup("hosts", "files dns");
  __nss_configure_lookup("passwd", "files");
  __nss_configure_lookup("group", "files");
  __nss_configure_lookup("services", "files");
}
