import asyncio
import pytest
from tests.browser.test_page import act
pytestmark=[pytest.mark.browser]
async def test_shots(visitor, live_server):
    s=live_server
    for v in (62.0,80.0): await s.raise_alert(value=v)
    a=await s.raise_alert(kind="tilt",metric="tilt_x_deg",value=1.5)
    b=await s.raise_alert(kind="smoke",metric="smoke_ppm",value=350.0)
    await act(s,b,"assign",assignee="machong")
    c=await s.raise_alert(kind="smoke",metric="smoke_ppm",value=700.0)
    await act(s,c,"acknowledge")
    v=await visitor(language="en"); v.expected.append(".*")
    await v.sign_in(webgl=True); await v.map_idle()
    sh=await s.shake("VB-0001",0.9); await s.shake("VB-0002",0.5)
    await asyncio.sleep(1)
    await act(s,sh,"comment",text="Grid worker is on the way")
    await v.open(sh); await v.wait("window.__app.plot"); await v.map_idle(); await asyncio.sleep(6); await v.map_idle()
    await v.page.evaluate("document.querySelectorAll('.mark').forEach(m=>m.style.animation='none')")
    await v.page.screenshot(path="/tmp/web/shots/doc.png")
    await v.page.evaluate("document.querySelector('.detail-scroll').scrollTop=1500"); await v.page.screenshot(path="/tmp/web/shots/doc2.png")
